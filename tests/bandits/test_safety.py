"""A damaged, crafted or ruined model never serves, and VW never reads a crafted model."""

import struct
from pathlib import Path

import numpy as np
import pytest

from bandits.arguments import SEED, vw_arguments
from bandits.model import Predictor
from bandits.model_file import ENVELOPE_BYTES, ModelError, parse_options, read_header, seal, unseal
from bandits.parameters import ALGORITHMS
from bandits.safety import check_model
from bandits.vw_model import initial_model, learn
from tests.bandits.support import CANARIES, online, policy, round_of

POLICY = policy("squarecb", l2=1e-6)


@pytest.fixture(scope="module")
def model() -> bytes:
    return online(POLICY, rounds=2)[0]


def crafted(model_bytes: bytes, extra: str) -> bytes:
    """The model with `extra` in its options, sealed again as a forger would who knows the format."""
    examples, payload = unseal(model_bytes)
    options = read_header(payload).options
    at = payload.index(options.encode()) - 5
    (size,) = struct.unpack_from("<I", payload, at)
    text = f" {options} {extra}".encode() + b"\0"
    return seal(payload[:at] + struct.pack("<I", len(text)) + text + payload[at + 4 + size :], examples)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_learned_model_of_every_algorithm_passes(algorithm: str) -> None:
    chosen_policy = policy(algorithm, l2=1e-6, interactions=["context*action", "context*context*action"])
    learned, logged = online(chosen_policy, rounds=3)
    report = check_model(learned, chosen_policy, CANARIES)
    assert report.ok, report.problems
    assert report.examples == sum(map(len, logged))
    assert report.weights > 10


def test_the_header_says_what_the_arguments_asked_for() -> None:
    chosen_policy = policy("squarecb", learning_rate=0.25, power_t=0.25, gamma_scale=8.0, l2=1e-6)
    kept = parse_options(read_header(unseal(initial_model(chosen_policy)).payload).options)
    asked = parse_options(vw_arguments(chosen_policy))
    assert kept["random_seed"] == (str(SEED),)
    assert kept["interactions"] == ("ca",)
    assert kept["hash"] == ("all",)
    for name in ("learning_rate", "power_t", "gamma_scale"):
        assert float(kept[name][0]) == float(asked[name][0])
    # VW adds what its own stack needs, and keeps neither l2 nor anything about files.
    added = {"cb_adf", "cb_type", "csoaa_ldf", "csoaa_rank"}
    dropped = {"bit_precision", "save_resume", "preserve_performance_counters", "quiet", "no_stdin", "l2"}
    assert set(kept) <= set(asked) - dropped | added


@pytest.mark.parametrize(
    "extra", ["-f FILE", "--final_regressor FILE", "--cubic cca", "--epsilon=0.9", "-q ::", "--csoaa_rank"]
)
def test_a_crafted_header_is_refused_and_writes_nothing(model: bytes, extra: str, tmp_path: Path) -> None:
    forged = crafted(model, extra.replace("FILE", str(tmp_path / "written")))
    report = check_model(forged, POLICY, CANARIES)
    assert not report.ok
    assert "option" in report.problems[0]
    for use in (lambda: Predictor(forged, POLICY), lambda: learn(forged, POLICY, round_of(0, 3, POLICY, None))):
        with pytest.raises(ModelError):
            use()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("cut", [1, 15, 16, 160, 3000, 10**9])
def test_a_truncated_model_is_refused_wherever_it_is_cut(model: bytes, cut: int) -> None:
    for damaged in (model[:-cut] if cut < len(model) else b"", model[: max(0, cut % 61)]):
        assert not check_model(damaged, POLICY, CANARIES).ok
        with pytest.raises(ModelError):
            Predictor(damaged, POLICY)


def test_a_flipped_bit_anywhere_is_detected(model: bytes) -> None:
    for at in range(0, len(model), 97):
        damaged = bytearray(model)
        damaged[at] ^= 4
        assert not check_model(bytes(damaged), POLICY, CANARIES).ok


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_model_with_a_weight_that_is_not_finite_is_refused(model: bytes, value: float) -> None:
    examples, payload = unseal(model)
    for offset in (12, 8, 4):
        poisoned = seal(payload[:-offset] + struct.pack("<f", value) + payload[len(payload) - offset + 4 :], examples)
        assert "not finite" in check_model(poisoned, POLICY, CANARIES).problems[0]


def test_a_truncated_payload_sealed_again_is_refused_unless_it_ends_between_weights(model: bytes) -> None:
    examples, payload = unseal(model)
    for cut in (1, 4, 15, 17):
        assert not check_model(seal(payload[:-cut], examples), POLICY, CANARIES).ok
    start = len(unseal(initial_model(POLICY)).payload)
    assert not check_model(seal(payload[: start - 7], examples), POLICY, CANARIES).ok


def test_weights_out_of_order_or_beyond_the_models_size_are_refused(model: bytes) -> None:
    examples, payload = unseal(model)
    for index in (0, 1 << 12, 2**32 - 1):
        moved = seal(payload[:-16] + struct.pack("<I", index) + payload[-12:], examples)
        assert "out of order or beyond" in check_model(moved, POLICY, CANARIES).problems[0]


def test_an_untrained_model_is_refused_where_a_trained_model_is_expected() -> None:
    empty = initial_model(POLICY)
    report = check_model(empty, POLICY, CANARIES)
    assert not report.ok
    assert any("learned nothing" in problem for problem in report.problems)
    assert check_model(empty, POLICY, CANARIES, trained=False).ok
    assert not check_model(seal(unseal(empty).payload, 100), POLICY, CANARIES).ok


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_model_passes_with_unchanged_weights_if_every_reward_was_the_best(algorithm: str) -> None:
    chosen_policy = policy(algorithm)
    best = [example._replace(cost=0.0) for example in round_of(0, 30, chosen_policy, None)]
    report = check_model(learn(initial_model(chosen_policy), chosen_policy, best), chosen_policy, CANARIES)
    assert report.ok, report.problems


@pytest.mark.parametrize("garbage", [b"", b"x", b"LOOPVW1\n", b"\0" * 5000])
def test_random_bytes_are_refused_with_and_without_an_envelope(garbage: bytes) -> None:
    assert not check_model(garbage, POLICY, CANARIES).ok
    assert not check_model(seal(garbage, 1), POLICY, CANARIES).ok


def test_another_vw_version_is_refused_by_name(model: bytes) -> None:
    examples, payload = unseal(model)
    other = seal(payload.replace(b"9.11.9\0", b"9.11.8\0", 1), examples)
    assert "9.11.8" in check_model(other, POLICY, CANARIES).problems[0]


def test_a_canary_that_vw_cannot_predict_is_reported_as_a_problem(model: bytes) -> None:
    report = check_model(model, POLICY, [*CANARIES, ("shared |c", ["|a x\n|a y"])])
    assert not report.ok
    assert report.problems[0].startswith("canary 3")


def test_the_envelope_is_48_bytes_before_vws_own_file(model: bytes) -> None:
    assert model[ENVELOPE_BYTES:] == unseal(model).payload
