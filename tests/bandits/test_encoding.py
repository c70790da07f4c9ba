"""Names and values cannot influence other features, and different contexts give different features."""

import math
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import vowpalwabbit
from hypothesis import given
from hypothesis import strategies as st

from bandits.encoding import (
    ENCODING_VERSION,
    FeatureError,
    drop_features,
    encode_action,
    encode_context,
    escape,
    hide,
)
from bandits.examples import Example
from bandits.policy import BanditPolicy
from bandits.vw_model import VwPredictor, initial_model, learn

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
# Numbers are left out of lists of objects here: equal numeric names there add up, as the encoder's table says.
SCALARS = st.one_of(TEXT, st.booleans(), st.integers(-(10**9), 10**9), st.floats(-1e9, 1e9))
NESTED = st.recursive(SCALARS, lambda inner: st.dictionaries(TEXT, inner, max_size=3), max_leaves=6)
CONTEXTS = st.dictionaries(TEXT, NESTED, max_size=4)
NASTY = [
    "a b",
    "a|b",
    "a:b",
    "a\nb",
    "a\tb",
    "a\rb",
    "a=b",
    "a%b",
    "a/b",
    "a*b",
    "|",
    ":",
    " ",
    "\u2028",
    "\u00a0",
    "\x1c",
]


def features_of(line: str) -> set[str]:
    return set(line.split(" ")[2:] if line.startswith("shared") else line.split(" ")[1:])


def leaves(obj: Any, path: tuple[str, ...] = ()) -> list[Any]:
    if isinstance(obj, dict):
        return [leaf for key, value in obj.items() for leaf in leaves(value, (*path, key))]
    return [(path, type(obj) is bool, isinstance(obj, str), obj)]


@given(TEXT, TEXT)
def test_escaping_is_one_to_one_and_leaves_no_separator(first: str, second: str) -> None:
    assert (escape(first) == escape(second)) == (first == second)
    assert escape(first)
    assert not re.search(r"[\s|:=/*\x00-\x1f]", escape(first))
    assert escape(first).strip() == escape(first)


@given(CONTEXTS, CONTEXTS)
def test_distinct_contexts_give_distinct_features(first: dict[str, Any], second: dict[str, Any]) -> None:
    same = set(map(repr, leaves(first))) == set(map(repr, leaves(second)))
    assert (features_of(encode_context(first)) == features_of(encode_context(second))) == same


@given(TEXT, TEXT, SCALARS)
def test_moving_a_boundary_between_name_path_and_value_changes_the_feature(a: str, b: str, value: Any) -> None:
    variants = [
        {a: {b: value}},
        {a + "/" + b: value},
        {a: [{b: value}]},
        {a: b},
        {a + "=" + b: value},
        {a: {b: [[value]]}},
    ]
    lines = [encode_context(variant) for variant in variants]
    assert len(set(lines)) == len(lines)


@given(CONTEXTS)
def test_each_leaf_is_one_feature_of_a_one_line_example(context: dict[str, Any]) -> None:
    line = encode_context(context)
    assert line.startswith("shared |c")
    assert line.count("|") == 1
    assert len(line.splitlines()) == 1
    assert len(features_of(line)) == len({repr(leaf) for leaf in leaves(context)})
    for feature in features_of(line):
        name, _, value = feature.partition(":")
        assert name
        assert not value or math.isfinite(float(value))


Parse = Callable[[str], list[tuple[int, float]]]


@pytest.fixture(scope="module")
def vw_reads() -> Iterator[Parse]:
    """Vowpal Wabbit's own parser as an independent reader of the encoder's lines: (weight index, value) pairs."""
    workspace = vowpalwabbit.Workspace("--cb_explore_adf --hash all -b 30 --quiet --no_stdin --noconstant")

    def parse(line: str) -> list[tuple[int, float]]:
        examples = workspace.parse(line)
        assert len(examples) == 1
        result = sorted(examples[0].iter_features())
        workspace.finish_example(examples)
        return result

    yield parse
    workspace.finish()


WORDS = st.one_of(TEXT, st.booleans(), st.floats(0.001, 1e9), st.integers(1, 10**9))


@given(st.dictionaries(TEXT, st.one_of(WORDS, st.dictionaries(TEXT, WORDS, max_size=3)), max_size=4))
def test_vw_reads_exactly_the_features_that_were_meant(vw_reads: Parse, context: dict[str, Any]) -> None:
    expected = sorted(
        float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else 1.0
        for _, _, _, value in leaves(context)
    )
    for line in (encode_context(context), encode_action("x", context)):
        result = vw_reads(line)
        extra = [] if line.startswith("shared") else [1.0]
        assert sorted(value for _, value in result) == pytest.approx(sorted(expected + extra), rel=1e-6)
        assert len({index for index, _ in result}) == len(result)  # 2^30 slots: no two of a handful meet by chance


def test_vw_gives_names_that_look_like_numbers_weights_of_their_own(vw_reads: Parse) -> None:
    result = vw_reads(encode_context({"5": 1, "05": 1, "5.0": 1, "0x5": 1, "05 ": 1, "a": ["5", "05"]}))
    assert len({index for index, _ in result}) == 7


@pytest.mark.parametrize("number", [1e-7, 0.1, 1 / 3, 123456.789, 1e9, -2.5, 1e-30, 999_999_999])
def test_vw_reads_the_number_that_was_written(vw_reads: Parse, number: float) -> None:
    assert vw_reads(encode_context({"n": number}))[0][1] == pytest.approx(
        number, rel=1e-6
    )  # VW's reader of numbers is off by up to 4e-7


@pytest.mark.parametrize("nasty", NASTY)
def test_separators_in_names_and_values_work_and_do_not_move_other_features(nasty: str) -> None:
    clean = features_of(encode_context({"plan": "pro", "age": 3}))
    assert clean < features_of(encode_context({"plan": "pro", nasty: nasty, "age": 3}))
    action = encode_action(nasty, {nasty: nasty})
    assert action.count("|") == 1
    assert len(action.split()) == 3


def test_values_that_text_formats_confuse_give_different_features() -> None:
    pairs: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"a": "5"}, {"a": "05"}),
        ({"a": "5"}, {"a": 5}),
        ({"a": True}, {"a": "true"}),
        ({"a": {"b": 1}}, {"a/b": 1}),
        ({"a=b": "c"}, {"a": "b=c"}),
        ({"a": ["x"]}, {"a": "x"}),
        ({"a": {"*": "x"}}, {"a": ["x"]}),
        ({"": "x"}, {"%": "x"}),
        ({"a": ""}, {"a": "%"}),
        ({"a": [1, 2]}, {"a": [2, 1]}),
        ({"a": [[1], [2]]}, {"a": [[1, 2]]}),
        ({"a": {"*0": 1}}, {"a": [1]}),
    ]
    for first, second in pairs:
        assert features_of(encode_context(first)) != features_of(encode_context(second)), (first, second)


def test_the_table_in_the_module_describes_the_encoding() -> None:
    def shown(**context: Any) -> str:
        return encode_context(context).removeprefix("shared |c").strip()

    assert shown(plan="pro", age=31, member=True) == "plan=pro age:31 member==true"
    assert shown(user={"city": "Rome"}, tags=["a", "b"]) == "user/city=Rome tags/*=a tags/*=b"
    assert shown(cart=[{"sku": "x"}], v=[0.5, 2, False]) == "cart/*/sku=x v/*0:0.5 v/*1:2 v/*2==false"
    assert shown(a=None, b={}, c=[], d=[None]) == ""
    assert encode_action("b", None) == "|a =b"


def test_a_list_of_objects_is_encoded_as_one_object() -> None:
    parts: list[dict[str, Any]] = [{"day": "Mon"}, {"device": {"mobile": True}}, {"n": 1.5}]
    whole = {key: value for part in parts for key, value in part.items()}
    assert encode_context(parts) == encode_context(whole)
    assert encode_action("x", parts) == encode_action("x", whole)


@pytest.mark.parametrize("value", [1e9 + 1, -2e9, 10**30, math.inf, -math.inf, math.nan, 1e300])
def test_numbers_that_overflow_float32_squares_are_refused_with_their_path(value: float) -> None:
    for context in ({"a b": {"c/d": value}}, {"a b": {"c/d": [value]}}, {"a b": {"c/d": [{"e": value}]}}):
        with pytest.raises(FeatureError) as caught:
            encode_context(context)
        assert caught.value.path.startswith("/a b/c~1d")
    with pytest.raises(FeatureError):
        encode_action("x", {"a": value})


@pytest.mark.parametrize("wrong", [b"x", object(), {1, 2}, complex(1)])
def test_a_type_that_is_not_json_is_refused(wrong: Any) -> None:
    with pytest.raises(FeatureError):
        encode_context({"a": wrong})


def test_features_must_be_text_or_an_object() -> None:
    for wrong in ("x", 3, ["x"], [3]):
        with pytest.raises(FeatureError):
            encode_context(wrong)  # type: ignore[arg-type]
    for context in ({"\ud800": 1}, {"a": "\udc00"}):
        with pytest.raises(FeatureError):
            encode_context(context)
    with pytest.raises(FeatureError):
        encode_action("\ud800", {})


@pytest.mark.parametrize(
    ("context", "path", "code", "kind"),
    [
        ({"a": b"x"}, "/a", "feature_type", "bytes"),
        ({"a": [1, {2}]}, "/a/1", "feature_type", "set"),
        ({"a": math.nan}, "/a", "feature_not_a_number", ""),
        ({"a": 2e9}, "/a", "feature_too_large", ""),
        ({"a": [0, -2e9]}, "/a/1", "feature_too_large", ""),
        ({"a": [{"b": [True, math.nan]}]}, "/a/*/b/1", "feature_not_a_number", ""),
        ({"a/b": {"~": {"": 2e9}}}, "/a~1b/~0/", "feature_too_large", ""),
        ({"*7": {"ü%": 2e9}}, "/*7/ü%", "feature_too_large", ""),
        ({"a": "\udc00"}, "", "half_surrogate", ""),
        ("x", "", "features_not_an_object", "str"),
        ([{}, 3], "/1", "feature_list_items", ""),
    ],
)
def test_an_error_names_the_place_as_a_json_pointer_and_what_is_wrong(
    context: Any, path: str, code: str, kind: str
) -> None:
    with pytest.raises(FeatureError) as caught:
        encode_context(context)
    assert (caught.value.path, caught.value.code) == (path, code)
    assert caught.value.params == ({"type": kind} if kind else {})
    assert str(caught.value) == f"{path or '/'}: {code}{' ' if kind else ''}{kind}"


def test_an_actions_id_that_cannot_be_written_is_an_error_of_the_whole() -> None:
    with pytest.raises(FeatureError) as caught:
        encode_action("\ud800")
    assert (caught.value.path, caught.value.code, caught.value.params) == ("", "half_surrogate", {})


def test_the_largest_numbers_are_features_in_every_position() -> None:
    assert encode_context({"a": 1e9, "b": -1e9, "c": [1e9, -1e9]}) == (
        "shared |c a:1000000000.0 b:-1000000000.0 c/*0:1000000000.0 c/*1:-1000000000.0"
    )


def test_subclasses_of_text_and_numbers_are_what_they_derive_from() -> None:
    class Text(str):
        pass

    class Number(float):
        __repr__ = float.__repr__

    assert encode_context({"a": Text("b c"), "n": Number(2)}) == "shared |c a=b%20c n:2.0"


def test_what_is_logged_as_version_1_is_never_written_otherwise() -> None:
    assert ENCODING_VERSION == 1
    assert escape("") == "%"
    assert encode_action("", {"": ""}) == "|a =% %=%"


def test_features_that_are_off_leave_no_trace() -> None:
    context = {"a": 1, "b": {"a": 2}}
    assert drop_features(context, {"a"}) == {"b": {"a": 2}}
    assert drop_features([context, {"a": 3}], ["a"]) == [{"b": {"a": 2}}, {}]
    assert drop_features(context, ()) is context


def test_vw_counts_as_many_features_as_the_encoder_wrote_even_for_odd_names() -> None:
    # Learning on one nasty feature must leave the prediction for a clean example where it was.
    policy = BanditPolicy("softmax", {"interactions": [], "bits": 18}, 0.05)
    actions = [encode_action(name, {name: name}) for name in NASTY]
    model = learn(initial_model(policy), policy, [Example(encode_context({}), actions, 3, 0.5, 1.0)] * 20)
    predictor = VwPredictor(model, policy)
    p = predictor.probabilities(encode_context({}), actions)
    others = p[:3] + p[4:]
    assert p[3] < min(others)
    assert max(others) - min(others) < 1e-6
    predictor.close()


@pytest.mark.parametrize(
    "off", [["a"], ["b", "shared"], ["", "%"], ["a b", "v"], ["tags", "cart", "ä"], ["missing"], ["n"], []]
)
def test_a_line_without_fields_is_the_line_of_the_context_without_them(off: list[str]) -> None:
    context = {
        **{
            "a": 1,
            "b": {"a": 2, "x y": "q"},
            "": "e",
            "tags": ["a", "b"],
            "v": [1, 2],
            "shared": 3,
            "a b": True,
            "%": 1,
        },
        **{"ä": "x", "cart": [{"sku": "a/b=c:d"}], "n": None, "c": "|c"},
    }
    assert hide(encode_context(context), off) == encode_context(drop_features(context, off))
    assert hide(encode_context(context), list(context)) == encode_context({})
