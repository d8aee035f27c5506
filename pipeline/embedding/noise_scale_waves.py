"""The waves of tasks after the rounds of a sharded run: noise scales, then sums over powers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.blocks.arrays import RowKind
from pipeline.embedding.methods import method_for
from pipeline.embedding.noise_scale_tasks import (
    NoiseScalePayload,
    PowersPayload,
    RoundNorms,
    compute_home_noise_scales,
    compute_part_noise_scales,
    sum_powers,
)
from pipeline.embedding.settings import Settings
from pipeline.embedding.waves import BlockFiles, RoundRecords, Wave, homes_of, partials_for, run_wave
from pipeline.locations import Location
from pipeline.tasks import TaskRunner


@dataclass(frozen=True)
class NoiseScaleWaves:
    """The last waves over some blocks, after the rounds of all shards."""

    runner: TaskRunner
    blocks: Sequence[BlockFiles]
    settings: Settings  # of all columns
    folder: Location
    rounds: Sequence[RoundRecords]

    def compute(self) -> RoundRecords:
        """Compute the noise scales of all rows from what the shards have recorded, and the factors of powers."""
        settings, powers = self.settings.without_columns(), self._powers()
        payloads = [
            NoiseScalePayload(
                block,
                settings,
                tuple(
                    RoundNorms(power.number, power.paths("power_squares", 0, place), power.operands(place))
                    for power in powers
                ),
                is_only_part=len(self.blocks) == 1,
            )
            for place, block in enumerate(self.blocks)
        ]
        name = "noise-scales"
        products = run_wave(self.runner, compute_part_noise_scales, f"{name}-products", self.folder, [payloads])
        payloads = [
            NoiseScalePayload(
                block,
                settings,
                tuple(
                    RoundNorms(
                        power.number,
                        power.paths("power_squares", 1, place),
                        inbox=partials_for(block.part_id, products[0], order),
                    )
                    for order, power in enumerate(powers)
                ),
            )
            for place, block in enumerate(homes_of(self.blocks))
        ]
        homes = run_wave(self.runner, compute_home_noise_scales, f"{name}-homes", self.folder, [payloads])
        return RoundRecords(products, homes)

    def sum_powers(self, noise_scales: RoundRecords) -> RoundRecords:
        """Add the columns of the powers, now that their factors are known."""
        waves: list[Wave] = []
        for wave, (name, blocks, (factors,), kind) in enumerate(
            (
                ("products", self.blocks, noise_scales.products, RowKind.WHOLE),
                ("homes", homes_of(self.blocks), noise_scales.homes, RowKind.SPLIT),
            )
        ):
            kinds = tuple(RowKind) if len(self.blocks) == 1 else (kind,)
            payloads = [
                [
                    PowersPayload(
                        block,
                        shard,
                        kinds,
                        factors[place].file("factors"),
                        tuple(power.paths("state", wave, place)[number] for power in self._powers()),
                    )
                    for place, block in enumerate(blocks)
                ]
                for number, shard in enumerate(self.settings.shards())
            ]
            waves.append(run_wave(self.runner, sum_powers, f"powers-{name}", self.folder, payloads))
        return RoundRecords(*waves)

    def _powers(self) -> list[_Power]:
        method, settings = method_for(self.settings), self.settings
        numbers = [n for n in range(method.rounds(settings)) if method.needs_noise_scales(n, settings)]
        if len(self.blocks) == 1:  # one task did all rounds
            return [_Power(number, self.rounds[0], order, len(numbers)) for order, number in enumerate(numbers)]
        return [_Power(number, self.rounds[number], 0, 1) for number in numbers]


@dataclass(frozen=True)
class _Power:
    """The files that the shards left of a round with noise scales; wave 0 is the products, wave 1 the homes."""

    number: int
    records: RoundRecords
    order: int  # a record holds the files of so many such rounds before this one
    count: int  # and of so many in all

    def operands(self, place: int) -> tuple[tuple[Location, ...], ...]:
        """Return for each matrix that was multiplied its files, a shard each."""
        return tuple(zip(*self._by_shard("operand_squares", 0, place), strict=True))

    def paths(self, role: str, wave: int, place: int) -> tuple[Location, ...]:
        """Return the round's files with a role, shard after shard."""
        return tuple(path for paths in self._by_shard(role, wave, place) for path in paths)

    def _by_shard(self, role: str, wave: int, place: int) -> list[list[Location]]:
        shards = []
        for shard in (self.records.products, self.records.homes)[wave]:
            paths = shard[place].paths(role)
            size = len(paths) // self.count
            shards.append(paths[size * self.order : size * (self.order + 1)])
        return shards
