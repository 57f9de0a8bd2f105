"""The style of the report: light and dark by the reader's preference, printable, no resources."""

STYLE = """
:root{color-scheme:light dark;--paper:#fbfaf8;--card:#fff;--ink:#1c2024;--soft:#5b6570;
--rule:#e2e0db;--main:#1f6f8b;--fill:#1f6f8b26;--second:#b45309;--limit:#6d28d9;--bad:#b42318;--good:#2f6f3e;
--warn:#fff4e0}
@media(prefers-color-scheme:dark){:root{--paper:#14171a;--card:#1c2024;--ink:#e8eaed;--soft:#a0a9b3;
--rule:#343a41;--main:#63b7d1;--fill:#63b7d126;--second:#e8a35c;--limit:#b79cf5;--bad:#f2877d;
--good:#7cc48d;--warn:#33291a}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main,header,footer{max-width:1040px;margin:0 auto;padding:0 20px}
header{padding-top:28px}h1{font-size:24px;line-height:1.25;margin:0;overflow-wrap:anywhere}
header p{margin:4px 0 0;color:var(--soft)}
h2{font-size:18px;margin:36px 0 12px}
.verdict{font-weight:600;color:var(--good)}.verdict.bad{color:var(--bad)}
.actions{list-style:none;margin:20px 0 0;padding:0;display:grid;gap:8px}
.actions li{background:var(--card);border:1px solid var(--rule);border-left:4px solid var(--limit);
border-radius:6px;padding:10px 14px}
.actions li.urgent{border-left-color:var(--bad);background:var(--warn)}
.actions b{display:block;font-weight:600}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:10px;
margin:20px 0 0}
.tiles div{background:var(--card);border:1px solid var(--rule);border-radius:6px;padding:10px 14px}
.tiles dt{color:var(--soft);font-size:13px}
.tiles dd{margin:0;font-size:22px;font-weight:600;font-variant-numeric:tabular-nums}
.tiles small{display:block;color:var(--soft);font-size:12.5px;font-weight:400;line-height:1.4}
figure{margin:0;background:var(--card);border:1px solid var(--rule);border-radius:6px;
padding:12px 14px;break-inside:avoid;min-width:0}
figure+figure{margin-top:10px}
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,380px),1fr));gap:10px}
.pair figure{margin:0}
figcaption{display:flex;flex-wrap:wrap;gap:2px 16px;align-items:baseline;margin-bottom:8px}
.key{color:var(--soft);font-size:13px;white-space:nowrap}
.key i{display:inline-block;width:14px;height:3px;margin-right:6px;vertical-align:middle;
background:var(--main)}
.key i.second{background:var(--second)}.key i.limit,.key i.p95{background:none;
border-top:2px dashed var(--limit);height:0}.key i.p50{background:var(--second)}
.key i.rejected{background:var(--bad);width:4px;height:10px}
.key i.paused{background:var(--second);opacity:.25;height:10px}
.key i.gap{background:var(--soft);width:2px;height:10px}
.plot{display:grid;grid-template-columns:auto minmax(0,1fr);gap:4px 8px;font-size:12px;
color:var(--soft);font-variant-numeric:tabular-nums}
.plot svg{width:100%;height:150px;display:block;overflow:visible}
.y{display:flex;flex-direction:column;justify-content:space-between;text-align:right;line-height:1;
margin:-5px 0;width:4.6em}
.x{grid-column:2;display:flex;justify-content:space-between}
svg path,svg line{fill:none;stroke-width:1.75;vector-effect:non-scaling-stroke;stroke:var(--main)}
svg .grid{stroke:var(--rule);stroke-width:1}svg .fill{fill:var(--fill);stroke:none}
svg .second{stroke:var(--second)}svg .limit{stroke:var(--limit);stroke-dasharray:5 4}
svg .rejected{fill:var(--bad)}svg .paused{fill:var(--second);opacity:.16}
svg .gap{stroke:var(--soft);stroke-width:2.5}
svg .bar{fill:var(--main)}svg .hit{fill:transparent}
svg g:hover .hit{fill:var(--fill)}svg .p50{stroke:var(--second)}
svg .p95{stroke:var(--limit);stroke-dasharray:5 4}
.scroll{overflow-x:auto;background:var(--card);border:1px solid var(--rule);border-radius:6px}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:7px 14px;border-top:1px solid var(--rule);vertical-align:top}
thead th{border-top:0;color:var(--soft);font-size:13px;font-weight:600}
.n{text-align:right;white-space:nowrap}td{overflow-wrap:break-word}
td:first-child{min-width:9em}td bdi{display:inline-block;max-width:20em;overflow-wrap:break-word}
.lines{color:var(--soft);font-size:13px;width:14em}
dl.terms{display:grid;grid-template-columns:minmax(9em,auto) 1fr;gap:8px 18px;margin:0}
dl.terms dt{font-weight:600}dl.terms dd{margin:0;color:var(--soft)}
.note{color:var(--soft);font-size:13.5px;margin:8px 0 0}
footer{padding:28px 20px 40px;color:var(--soft);font-size:13px}
@media(max-width:560px){main,header,footer{padding-left:12px;padding-right:12px}
dl.terms{grid-template-columns:1fr;gap:0}dl.terms dd{margin-bottom:10px}
.tiles{grid-template-columns:1fr 1fr}.tiles dd{font-size:19px}th,td{padding:7px 10px}
.plot svg{height:120px}}
@media print{body{background:#fff}.scroll{overflow:visible}h2{break-after:avoid}
tr,.actions li{break-inside:avoid}}
"""
