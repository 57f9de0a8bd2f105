"""A coverage-guided fuzzer for the parser, the decoder and the accumulator together.

    pip install atheris
    python tests/fuzz/fuzz_stream.py -runs=10000000 -max_len=400 [FOLDER_OF_SEEDS]

Any bytes, cut in any way, give the same events; these end in chunks, in a reported failure or in a
``DecodeError``; what is read by the form of the event before is what is read from its JSON; every
text that comes of them can be encoded, and the completion can be written.
Anything else is a crash, which libFuzzer stores as a file to run again.
"""

import json
import sys

import atheris

with atheris.instrument_imports(include=["laplas_async.wire"]):
    from laplas_async.errors import StreamProtocolError
    from laplas_async.wire.accumulate import Accumulator
    from laplas_async.wire.chunks import ChunkDecoder, FailureEvent
    from laplas_async.wire.codec import DecodeError, to_dict
    from laplas_async.wire.error_body import read_failure
    from laplas_async.wire.sse import ServerSentEvent, SSEParser

MAX_EVENT_BYTES = 256  # small, so that the bound is met too


def parse(pieces: list[bytes]) -> tuple[list[ServerSentEvent], bool]:
    """The events, and whether the bytes ended in a refusal."""
    parser = SSEParser(max_event_bytes=MAX_EVENT_BYTES)
    events: list[ServerSentEvent] = []
    try:
        for piece in pieces:
            events += parser.feed(piece)
        last = parser.unfinished()
    except StreamProtocolError:
        return events, True
    if last is not None:
        events.append(last)
    return events, False


def read(events: list[ServerSentEvent]) -> None:
    decoder, accumulator = ChunkDecoder(), Accumulator()
    for event in events:
        blocks = [] if event.event or b"\n" in event.data else [b"data: " + event.data]
        form = decoder.learner.form
        short = [] if form is None else [form.chunk(item) for item in form.read(blocks, 0)]
        try:
            chunk = decoder.decode(event.data, event.event)
        except FailureEvent as failure:
            read_failure(failure.body)
            break
        except DecodeError as error:
            str(error).encode()
            break
        if chunk is not None:
            chunk.text.encode()
            accumulator.add(chunk)
            if short not in ([], [chunk]):
                raise AssertionError("the short way gives another chunk than the long way")
            if blocks:
                decoder.learner.learn(blocks[0], chunk)
    completion = accumulator.completion()
    json.dumps(to_dict(completion), ensure_ascii=False).encode()
    if completion != accumulator.completion():
        raise AssertionError("asking twice gives two answers")


def run(data: bytes) -> None:
    cuts, stream = data[:4], data[4:]
    places = sorted({cut * len(stream) // 255 for cut in cuts})
    pieces = [stream[a:b] for a, b in zip([0, *places], [*places, len(stream)], strict=True)]
    whole = parse([stream])
    if parse(pieces) != whole:
        raise AssertionError(f"cut as {pieces!r}, the events differ")
    read(whole[0])


def main() -> None:
    atheris.Setup(sys.argv, run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
