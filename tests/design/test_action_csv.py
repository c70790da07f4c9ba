"""Actions from a table: the meaning of each column, and every error by its line."""

import pytest

from app.design.pages.action_csv import decode, read


def test_columns_become_payload_and_features() -> None:
    table = read("id,title,payload.text,feature.minutes,features.new,feature.style\na,Watch,Now,3,true,video\nb,,,,,\n")
    assert table.mistakes == []
    assert table.actions == [
        {
            "id": "a",
            "features": {"minutes": 3, "new": True, "style": "video"},
            "payload": {"title": "Watch", "text": "Now"},
        },
        {"id": "b", "features": {}, "payload": None},
    ]


def test_whole_columns_hold_json() -> None:
    table = read('id;features;payload\na;"{""size"": [1, 2]}";"[1, ""x""]"\n')
    assert table.mistakes == []
    assert table.actions == [{"id": "a", "features": {"size": [1, 2]}, "payload": [1, "x"]}]


def test_excels_marks_quotes_and_line_breaks_are_read() -> None:
    text = decode(b'\xef\xbb\xbfid\ttext\r\na\t"two\r\nlines, and a ""quote"""\r\n\r\nb\t=1+1\r\n')
    assert text is not None
    table = read(text)
    assert [action["payload"] for action in table.actions] == [
        {"text": 'two\r\nlines, and a "quote"'},
        {"text": "=1+1"},
    ]


def test_a_file_that_is_not_utf_8_is_recognised() -> None:
    assert decode("id\nä\n".encode("latin-1")) is None


def test_every_mistake_names_its_line() -> None:
    text = 'id,features,title\na,{,x\n\n"b\nc",,y\na,,z\n,,w\nd,1,v,extra\ne,"{""n"": 1e300}",u\n'
    lines = dict(read(text).mistakes)
    assert set(lines) == {2, 6, 7, 8, 9}
    assert "not JSON" in lines[2]
    assert "line 2 already" in lines[6]
    assert "give an id" in lines[7]
    assert "4 cells, but 3 columns" in lines[8]
    assert "n" in lines[9]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "one of them is called id"),
        ("name,text\na,b\n", "one of them is called id"),
        ("id,id\na,b\n", "appears twice"),
        ("id,,text\na,b,c\n", "column 2 has no name"),
        ("id,text\n", "no line under the header"),
        ('id,text\na,"open\n', "cannot be read as CSV"),
    ],
)
def test_a_table_without_a_usable_header_or_line_says_so(text: str, words: str) -> None:
    assert words in read(text).mistakes[0].message


def test_more_actions_than_an_experiment_may_have_are_refused() -> None:
    table = read("id\n" + "".join(f"a{n}\n" for n in range(1002)))
    assert [line for line, _ in table.mistakes] == [1002]
    assert len(table.actions) == 1000
