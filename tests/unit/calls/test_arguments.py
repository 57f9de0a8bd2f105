"""Settings of a call and parameters of its request."""

from laplas_async.calls.arguments import SETTINGS, parameters_of, settings_of

ARGUMENTS = {"model": "m", "temperature": 0.0, "extra_body": {"x": 1}, "stop": None}


def test_every_setting_is_given_and_is_none_where_the_arguments_do_not_name_it() -> None:
    settings = settings_of(ARGUMENTS)
    assert tuple(settings) == SETTINGS
    assert {k: v for k, v in settings.items() if v is not None} == {
        "model": "m",
        "extra_body": {"x": 1},
    }


def test_what_is_no_setting_is_a_parameter_even_if_it_is_none_or_unknown() -> None:
    assert parameters_of(ARGUMENTS) == {"temperature": 0.0, "stop": None}
    assert parameters_of({"unknown": 1}) == {"unknown": 1}
