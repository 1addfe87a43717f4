"""Where the token is looked for, in which order, and that it does not show."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from gguf_bench.errors import HubError
from gguf_bench.hub_token import TOKEN_NAMES, FoundToken, found, named_token


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in TOKEN_NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def test_none_without_any() -> None:
    assert named_token() is None


def test_the_name_decides_first_then_the_environment_before_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """All six are set; taking away the first each time shows the order."""
    places = [place for name in TOKEN_NAMES for place in (f"${name}", f".env: {name}")]
    tokens = {place: f"hf_{number}" for number, place in enumerate(places)}
    for first, place in enumerate(places):
        lines = []
        for other in places[first:]:
            if other.startswith("$"):
                monkeypatch.setenv(other[1:], tokens[other])
            else:
                lines.append(f"{other.removeprefix('.env: ')}={tokens[other]}\n")
        (tmp_path / ".env").write_text("".join(lines))
        token = named_token()
        assert token is not None
        assert (token.source, token.value) == (place, tokens[place])
        if place.startswith("$"):
            monkeypatch.delenv(place[1:])


@pytest.mark.parametrize("empty", ["", "  ", "\n", " \r\n "])
def test_an_empty_one_counts_as_none(monkeypatch: pytest.MonkeyPatch, empty: str) -> None:
    monkeypatch.setenv("HF_TOKEN", empty)
    assert named_token() is None
    monkeypatch.setenv("HUGGING_FACE_HUB_TOKEN", "hf_last")
    token = named_token()
    assert token is not None
    assert token.value == "hf_last"


def test_line_breaks_and_quotes_are_taken_off(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_TOKEN", " hf_abc\r\ndef\n")
    assert named_token() == FoundToken("$HF_TOKEN", "hf_abcdef")
    monkeypatch.delenv("HF_TOKEN")
    (tmp_path / ".env").write_text("OTHER=x\nexport HF_TOKEN='hf_quoted'  # mine\n")
    assert named_token() == FoundToken(".env: HF_TOKEN", "hf_quoted")


def test_only_the_folder_itself_is_looked_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("HF_TOKEN=hf_above\n")
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    assert named_token() is None
    assert named_token(tmp_path) == FoundToken(".env: HF_TOKEN", "hf_above")


def test_no_name_in_a_token_is_replaced(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SECRET", "else")
    (tmp_path / ".env").write_text("HF_TOKEN=hf_${SECRET}\n")
    token = named_token()
    assert token is not None
    assert token.value == "hf_${SECRET}"


def test_the_value_shows_in_no_repr_message_or_log(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    token = FoundToken("$HF_TOKEN", "hf_secret")
    assert "secret" not in f"{token} {token!r} {[token]}"
    with pytest.raises(HubError, match=r"the token in \$HF_TOKEN has spaces") as caught:
        found("$HF_TOKEN", "hf_secret hf_secret")
    assert "secret" not in repr(caught.value)
    (tmp_path / ".env").write_bytes(b"HF_TOKEN=hf_secret\xff\n")
    with pytest.raises(HubError, match="cannot be read") as caught:
        named_token()
    assert caught.value.__cause__ is None
    (tmp_path / ".env").write_text("HF_TOKEN: hf_secret hf_secret\n")
    with caplog.at_level(logging.DEBUG):
        assert named_token() is None
    assert "secret" not in caplog.text


@pytest.mark.parametrize("value", ["hf_ä", "hf_…", "hf_a b", "hf_\x00"])
def test_what_cannot_stand_in_a_header_is_refused(value: str) -> None:
    with pytest.raises(HubError, match="copy it again"):
        found("$HF_TOKEN", value)
