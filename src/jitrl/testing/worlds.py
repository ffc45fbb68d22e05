"""The conformance kit of worlds: `check_world(lambda: make("textworld:7"))`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import fields

from jitrl.errors import InvalidValue, WorldError
from jitrl.records import Observation, State
from jitrl.seeds import generator
from jitrl.worlds import World

__all__ = ["check_world"]

# What a model may write instead of an action: no world may break on it.
_UNKNOWN = ("flurble the grommet", "", "two\nlines, \u201cquotes\u201d and an \u00e9")


def check_world(make: Callable[[], World], *, steps: int = 30, seed: int = 1) -> None:
    """Play `make()` at random for `steps` steps (>= 1), and check that it keeps the contract.

    Two worlds are opened and played in turn with the same actions, drawn from those on offer by a
    generator of `seed` (>= 1). An episode that ends on the way is followed by another. What no
    step shows, such as the end of an episode longer than `steps`, is not checked: choose `steps`
    so that an end is seen. Whatever the outcome, both worlds are closed.

    Raises AssertionError that names what is violated, InvalidValue for a wrong argument, and
    whatever the world itself raises where it should not.
    """
    if steps < 1:
        raise InvalidValue("steps", steps, "must be at least 1")
    if seed < 1:
        raise InvalidValue("seed", seed, "must be at least 1")
    world = make()
    try:
        twin = make()
        try:
            _require(world is not twin, "make returned the same world twice: open a new one")
            _check_attributes(world)
            _check_before_reset(world)
            _check_invalid_seed(world)
            _check_resets(world, twin, seed)
            _check_play(world, twin, steps, seed)
            _check_unknown(world, twin, seed)
        finally:
            twin.close()
    finally:
        world.close()
    try:
        world.close()
    except Exception as error:
        raise AssertionError(
            f"close: a second call must be harmless, it raised {error!r}"
        ) from error


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise AssertionError(message)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _check_attributes(world: World) -> None:
    _require(
        isinstance(world.name, str) and bool(world.name),
        f"name must be a nonempty string, it is {world.name!r}",
    )
    _require(
        world.max_score is None or _is_number(world.max_score),
        f"max_score must be a finite number or None, it is {world.max_score!r}",
    )
    bounds = world.reward_range
    _require(
        bounds is None
        or (
            isinstance(bounds, tuple)
            and len(bounds) == 2
            and all(_is_number(bound) for bound in bounds)
            and bounds[0] <= bounds[1]
        ),
        f"reward_range must be (lowest, highest) or None, it is {bounds!r}",
    )
    version = world.version
    _require(
        isinstance(version, Mapping)
        and all(isinstance(text, str) for pair in version.items() for text in pair),
        f"version must map strings to strings, it is {version!r}",
    )
    _check_seconds(world)


def _check_seconds(world: World) -> float:
    seconds = world.seconds
    _require(
        isinstance(seconds, Mapping)
        and {"total", "actions"} <= set(seconds)
        and all(_is_number(spent) for spent in seconds.values())
        and seconds["total"] >= seconds["actions"] >= 0,
        f'seconds must hold "total" >= "actions" >= 0, it is {seconds!r}',
    )
    return seconds["total"]


def _check_before_reset(world: World) -> None:
    _must_refuse(world, "look", "before the first reset")


def _must_refuse(world: World, action: str, when: str) -> None:
    try:
        world.step(action)
    except WorldError:
        return
    except Exception as error:
        raise AssertionError(f"step {when} must raise WorldError, it raised {error!r}") from error
    raise AssertionError(f"step {when} must raise WorldError, it raised nothing")


def _check_invalid_seed(world: World) -> None:
    try:
        world.reset(0)
    except InvalidValue:
        return
    except Exception as error:
        raise AssertionError(f"reset(0) must raise InvalidValue, it raised {error!r}") from error
    raise AssertionError("reset(0) must raise InvalidValue: seeds begin at 1")


def _check_resets(world: World, twin: World, seed: int) -> None:
    first = _reset(world, seed)
    _same(f"reset({seed}) called twice", first, _reset(world, seed))
    _same(f"reset({seed}) of two worlds", first, _reset(twin, seed))


def _reset(world: World, seed: int) -> Observation:
    observation = world.reset(seed)
    _check_observation(world, observation, "reset")
    _require(observation.reward == 0, f"reset: reward must be 0.0, it is {observation.reward!r}")
    _require(
        not observation.terminated and not observation.truncated,
        "reset: an episode must not begin at its end (terminated or truncated is set)",
    )
    return observation


def _check_play(world: World, twin: World, steps: int, seed: int) -> None:
    """Walk both worlds in turn, and return to the beginning: nothing may be left over."""
    before = _check_seconds(world)
    beginning, last = _reset(world, seed), _reset(twin, seed)
    rng = generator(seed, 0, "check_world")
    for t in range(steps):
        spent = _check_seconds(world)
        action = last.actions[int(rng.integers(len(last.actions)))]
        observation = _step(world, last, action, f"step {t} ({action!r})")
        _same(f"step {t} ({action!r}) of two worlds", observation, twin.step(action))
        _require(_check_seconds(world) >= spent, f"seconds shrank at step {t}: they must grow")
        last = observation
        if last.terminated:
            _must_refuse(world, action, "after the end of an episode")
        if last.terminated or last.truncated:
            last = _reset(world, seed + t + 1)
            _same(f"reset({seed + t + 1}) of two worlds", last, _reset(twin, seed + t + 1))
    _require(_check_seconds(world) > before, 'seconds["total"] must grow with resets and steps')
    _same(f"reset({seed}) before and after an episode", beginning, _reset(world, seed))


def _step(world: World, last: Observation, action: str, where: str) -> Observation:
    observation = world.step(action)
    _check_observation(world, observation, where)
    change, reward = observation.score - last.score, observation.reward
    _require(
        math.isclose(change, reward, rel_tol=1e-9, abs_tol=1e-6 * max(1.0, abs(last.score))),
        f"{where}: reward must be the change of the score, "
        f"it is {reward!r} where the score went from {last.score!r} to {observation.score!r}",
    )
    return observation


def _check_unknown(world: World, twin: World, seed: int) -> None:
    for text in _UNKNOWN:
        last = _reset(world, seed)
        _same(f"reset({seed}) of two worlds", last, _reset(twin, seed))
        try:
            observation = _step(world, last, text, f"step with unknown text {text!r}")
        except AssertionError:
            raise
        except Exception as error:
            raise AssertionError(f"step must take any text, {text!r} raised {error!r}") from error
        _same(f"step with unknown text {text!r} of two worlds", observation, twin.step(text))


def _check_observation(world: World, observation: Observation, where: str) -> None:
    _require(
        isinstance(observation, Observation),
        f"{where} must return an Observation, it returned {type(observation).__name__}",
    )
    state = observation.state
    _require(isinstance(state, State), f"{where}: state must be a State, it is {state!r}")
    _require(
        all(isinstance(text, str) for text in state.values()),
        f"{where}: the fields of state must be strings, they are {state!r}",
    )
    _require(
        isinstance(observation.text, str), f"{where}: text must be a string: {observation.text!r}"
    )
    for name in ("terminated", "truncated"):
        flag = getattr(observation, name)
        _require(isinstance(flag, bool), f"{where}: {name} must be a bool, it is {flag!r}")
    _check_actions(observation, where)
    _check_numbers(world, observation, where)


def _check_actions(observation: Observation, where: str) -> None:
    actions = observation.actions
    _require(
        isinstance(actions, tuple)
        and all(isinstance(action, str) and bool(action.strip()) for action in actions),
        f"{where}: actions must be a tuple of nonempty strings, it is {actions!r}",
    )
    repeated = sorted({action for action in actions if actions.count(action) > 1})
    _require(not repeated, f"{where}: actions must be distinct, these are repeated: {repeated}")
    if observation.terminated:
        _require(
            not actions, f"{where}: a terminated observation must have no actions: {actions!r}"
        )
    elif not observation.truncated:
        _require(bool(actions), f"{where}: actions must not be empty before the episode's end")


def _check_numbers(world: World, observation: Observation, where: str) -> None:
    reward, score = observation.reward, observation.score
    _require(_is_number(reward), f"{where}: reward must be a finite number, it is {reward!r}")
    _require(_is_number(score), f"{where}: score must be a finite number, it is {score!r}")
    if world.max_score is not None:
        _require(
            score <= world.max_score,
            f"{where}: score must be at most max_score {world.max_score!r}, it is {score!r}",
        )
    if world.reward_range is not None and where != "reset":
        lowest, highest = world.reward_range
        _require(
            lowest <= reward <= highest,
            f"{where}: reward must lie in reward_range {world.reward_range!r}, it is {reward!r}",
        )


def _same(what: str, first: Observation, second: Observation) -> None:
    """Require equality, and name the first field that differs."""
    for field in fields(Observation):
        a, b = getattr(first, field.name), getattr(second, field.name, None)
        _require(a == b, f"{what}: {field.name} must be equal, it is {a!r} and {b!r}")
