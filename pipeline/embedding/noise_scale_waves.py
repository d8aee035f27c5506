"""The waves of tasks after the rounds of a sharded run: noise scales, then sums over powers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.blocks.arrays import RowKind
from pipeline.embedding.methods import method_for
from pipeline.embedding.noise_scale_tasks import add_powers, compute_home_noise_scales, compute_part_noise_scales
from pipeline.embedding.rows import Settings
from pipeline.embedding.waves import BlockFiles, Round, Wave, by_shard, homes_of, partials_for, task_for
from pipeline.tasks import TaskRunner, run_missing


def measure(
    runner: TaskRunner, blocks: Sequence[BlockFiles], settings: Settings, place: Path, rounds: Sequence[Round]
) -> Round:
    """Make the noise scales of all rows from what the shards have recorded, and the factors of powers."""
    nothing = settings.without_columns()
    measured = _measured(settings, len(blocks), rounds)
    tasks = []
    for position, block in enumerate(blocks):
        payloads = [
            {"number": power.number, "operands": power.operands(position), "powers": power.squares(0, position)}
            for power in measured
        ]
        payload = {"block": block.to_json(), "measured": payloads, "is_only_part": len(blocks) == 1}
        tasks.append(task_for(f"measures-products-{block.part_id:05d}", place, payload, nothing))
    products = run_missing(runner, compute_part_noise_scales, tasks)
    tasks = []
    for position, block in enumerate(homes_of(blocks)):
        payloads = [
            {
                "number": power.number,
                "inbox": partials_for(block.part_id, products, order),
                "powers": power.squares(1, position),
            }
            for order, power in enumerate(measured)
        ]
        payload = {"block": block.to_json(), "measured": payloads}
        tasks.append(task_for(f"measures-homes-{block.part_id:05d}", place, payload, nothing))
    return Round([products], [run_missing(runner, compute_home_noise_scales, tasks)])


def add_up(
    runner: TaskRunner,
    blocks: Sequence[BlockFiles],
    settings: Settings,
    place: Path,
    rounds: Sequence[Round],
    measures: Round,
) -> Round:
    """Add the columns of the powers, now that their factors are known."""
    measured = _measured(settings, len(blocks), rounds)
    shards = settings.shards()
    waves: list[Wave] = []
    for wave, (kind, holders, (made,)) in enumerate(
        (("products", blocks, measures.products), ("homes", homes_of(blocks), measures.homes))
    ):
        tasks = [
            task_for(
                f"powers-{kind}-{block.part_id:05d}",
                place,
                {
                    "block": block.to_json(),
                    "kinds": list(RowKind) if len(blocks) == 1 else [(RowKind.WHOLE, RowKind.SPLIT)[wave]],
                    "factors": str(made[position].file("factors")),
                    "powers": [power.states(wave, position)[number] for power in measured],
                },
                shard,
            )
            for number, shard in enumerate(shards)
            for position, block in enumerate(holders)
        ]
        waves.append(by_shard(run_missing(runner, add_powers, tasks), len(shards)))
    return Round(*waves)


@dataclass(frozen=True)
class _Power:
    """The files that the shards left of one measured round; wave 0 is the products, wave 1 the homes."""

    number: int
    source: Round
    order: int  # a record holds the files of so many measured rounds before this one
    count: int  # and of so many in all

    def operands(self, position: int) -> list[list[str]]:
        """Return for each matrix that was multiplied its files, a shard each."""
        return [list(files) for files in zip(*self._files("operand_squares", 0, position), strict=True)]

    def squares(self, wave: int, position: int) -> list[str]:
        """Return the files of the power's squares, a shard each."""
        return [file for files in self._files("power_squares", wave, position) for file in files]

    def states(self, wave: int, position: int) -> list[str]:
        """Return the files of the power, a shard each."""
        return [file for files in self._files("state", wave, position) for file in files]

    def _files(self, role: str, wave: int, position: int) -> list[list[str]]:
        found = []
        for shard in (self.source.products, self.source.homes)[wave]:
            files = [str(file) for file in shard[position].paths(role)]
            size = len(files) // self.count
            found.append(files[size * self.order : size * (self.order + 1)])
        return found


def _measured(settings: Settings, blocks: int, rounds: Sequence[Round]) -> list[_Power]:
    method = method_for(settings)
    numbers = [number for number in range(method.rounds(settings)) if method.needs_noise_scales(number, settings)]
    if blocks == 1:  # one task did all rounds
        return [_Power(number, rounds[0], order, len(numbers)) for order, number in enumerate(numbers)]
    return [_Power(number, rounds[number], 0, 1) for number in numbers]
