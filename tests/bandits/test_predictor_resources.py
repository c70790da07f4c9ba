"""A predictor leaks nothing, leaves no file behind, and threads may share it."""

import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bandits.encoding import encode_context
from bandits.examples import Example, TrainingDataError
from bandits.vw_model import VwPredictor, initial_model, learn
from tests.bandits.support import ACTIONS, CANARIES, online, peak_bytes, policy, round_of


def test_threads_share_a_predictor_without_disturbing_each_other() -> None:
    chosen_policy = policy("bag")
    model, _ = online(chosen_policy, rounds=3)
    predictor = VwPredictor(model, chosen_policy)
    expected = [predictor.probabilities(*canary) for canary in CANARIES]
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda i: predictor.probabilities(*CANARIES[i % 3]), range(600)))
    assert all(p == expected[i % 3] for i, p in enumerate(got))
    predictor.close()


def test_calls_with_changing_actions_get_what_a_fresh_predictor_gives() -> None:
    chosen_policy = policy()
    model, _ = online(chosen_policy, rounds=3)
    used, (line, _) = VwPredictor(model, chosen_policy), CANARIES[0]
    for actions in [ACTIONS, ACTIONS, ACTIONS[::-1], ACTIONS[:2], ACTIONS, [*ACTIONS, "|a =new"], ACTIONS] * 3:
        fresh = VwPredictor(model, chosen_policy)
        assert used.probabilities(line, actions) == fresh.probabilities(line, actions)
        fresh.close()
    used.close()


@pytest.mark.parametrize("repeats", [1, 2])
def test_twenty_thousand_predictions_do_not_leak(repeats: int) -> None:
    # Each action line is asked for once (parsed and handed back), or twice (kept, until the cache is full and emptied).
    chosen_policy = policy()
    model = learn(initial_model(chosen_policy), chosen_policy, round_of(0, 50, chosen_policy, None))
    predictor = VwPredictor(model, chosen_policy)

    def predict(start: int) -> int:
        for i in range(start, start + 20_000):
            actions = [f"|a =x{i // repeats} n:{i // repeats}", f"|a =y{i // repeats}", *ACTIONS]
            predictor.probabilities(encode_context({"i": str(i), "x": i / 7}), actions)
        return peak_bytes()

    before = predict(0)
    assert predict(20_000) - before < 4 << 20
    assert predictor.memory_bytes < 40 << 20
    predictor.close()


def test_loading_and_closing_many_predictors_does_not_leak() -> None:
    chosen_policy = policy(bits=18)
    model = initial_model(chosen_policy)
    sizes = []
    for index in range(120):
        predictor = VwPredictor(model, chosen_policy)
        predictor.probabilities(*CANARIES[0])
        predictor.close()
        if index in (20, 119):
            sizes.append(peak_bytes())
    assert sizes[1] - sizes[0] < 16 << 20  # one model of 18 bits is 4 MiB


def test_no_file_stays_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    chosen_policy = policy(learning_rate=0.123)
    predictor = VwPredictor(
        learn(initial_model(chosen_policy), chosen_policy, round_of(0, 5, chosen_policy, None)), chosen_policy
    )
    predictor.close()
    with pytest.raises(TrainingDataError):
        learn(initial_model(chosen_policy), chosen_policy, [Example("shared |c", ["|a x"], 0, 0.0, 0.0)])
    assert list(tmp_path.iterdir()) == []
