"""Which cells there are, and where each one's figures stand: the paper's tables, written out.

A cell that several tables ask for is made once: two cells of one digest are one. What cannot be measured here is not
declared, and `lacking` says why.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from collections.abc import Sequence as Many
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from backend.train.config import TrainConfig
from backend.train.tables import rows, stages
from backend.train.tables.cells import Cell
from backend.train.tables.columns import COLUMNS, HELD_OUT, REAL, SIMULATOR, Column, sets_of, told_by
from backend.train.tables.people import files_of
from backend.train.tables.rows import LONGER, RATIOS, Size
from broker.errors import ConfigError

TABLES = ("1", "2", "3", "4", "5", "D", "ablations", "steps")
CHUNK = 7
"""Simulated people that are rendered in one cell."""
DOMAIN, UNIMODAL, ADAPTER, UNIMODAL_MT = "domain-specific", "unimodal", "unimodal adapter", "unimodal multi-task"
MULTI, MULTI_MT, IOT_LM, STAGE_1 = "multisensory", "multisensory multi-task", "IoT-LM", "stage 1"
ABLATED = "synthetic_touch"
ENCODERS, TUNED, TOLD = "encoders", "encoders learn, too", "answers in words learned, too"
MORE, LONG = f", {LONGER} times the steps", "longer"
"""How a row that learns longer is called beside itself, and the table of those rows alone."""
TAKEN_OUT = ", language model taken out"
"""How the row of a language model is called when the same checkpoints answer without it."""
TABLE_1 = (DOMAIN, UNIMODAL, ADAPTER, UNIMODAL_MT, MULTI, STAGE_1, MULTI_MT, IOT_LM)


@dataclass(frozen=True)
class Place:
    """Where a cell's figure of one column stands."""

    table: str
    row: str
    world: str
    column: Column
    cell: Cell


@dataclass
class Declared:
    """All cells, each after those that it needs, and all places. `lacking`: by table and row, why it has none."""

    size: Size
    cells: dict[str, Cell] = field(default_factory=dict)
    places: list[Place] = field(default_factory=list)
    lacking: dict[tuple[str, str], str] = field(default_factory=dict)

    def add(self, cell: Cell) -> Cell:
        """The cell, or the one of the same digest that is there."""
        if cell.digest not in self.cells:
            self._prepare(cell)
            self.cells[cell.digest] = cell
        return self.cells[cell.digest]

    def put(self, table: str, row: str, cell: Cell, columns: Iterable[Column] = ()) -> Cell:
        """Add the cell, whose columns (or these alone) are figures of a row."""
        there = self.add(cell)
        self.places += [Place(table, row, cell.world, one, there) for one in columns or cell.columns]
        return there

    def needs(self, cell: Cell) -> list[Cell]:
        """The cells that have to be done before."""
        if cell.kind == "prepare":
            return []
        before = [one for one in (cell.base, cell.encoders) if one]
        if cell.seen_by is not None:
            return [*before, *(self.cells[one.digest] for one in self._tokens(cell, cell.seen_by))]
        sets = sets_of(cell.columns)
        return [
            *before,
            *(one for one in self.cells.values() if one.kind == "prepare" and (one.options or {})["dataset"] in sets),
        ]

    def _tokens(self, cell: Cell, encoders: Cell) -> Iterator[Cell]:
        """The cells that encode what it learns from."""
        for dataset, variant in dict.fromkeys((one.dataset, one.variant) for one in cell.columns):
            column = next(one for one in cell.columns if (one.dataset, one.variant) == (dataset, variant))
            first = next(one for one in COLUMNS if one.dataset == dataset)
            about = ("data", "tokens", column.world, f"{dataset}{variant}-{encoders.world}", cell.seed)
            yield Cell("encode", *about, (replace(first, variant=variant),), cell.amount, base=encoders)

    def _prepare(self, cell: Cell) -> None:
        if cell.kind == "prepare":
            return
        if cell.seen_by is not None:
            for one in self._tokens(cell, self.add(cell.seen_by)):
                self.add(one)
        for dataset in sets_of(cell.columns):
            total = files_of(dataset, self.size.amount)
            for first in range(0, total, CHUNK):
                options = {"dataset": dataset, "first": first, "last": min(first + CHUNK, total)}
                column = next(one for one in COLUMNS if one.dataset == dataset)
                about = ("data", "people", column.world, f"{dataset}-{first}", 0)
                made = Cell("prepare", *about, (column,), self.size.amount, options=options)
                self.cells.setdefault(made.digest, made)


def declare(size: Size, worlds: Many[str], only: Many[str], llms: Many[Path]) -> Declared:
    """The cells of these tables in these worlds.

    Raises ConfigError for a table or a world that there is none of, and for language models of one name.
    """
    for table in only:
        if table not in TABLES:
            raise ConfigError(f"--only {table!r}: choose among {', '.join(TABLES)}")
    llms = [Path(llm).resolve() if Path(llm).is_dir() else Path(llm) for llm in llms]  # cells outlive where one stands
    if len({llm.name for llm in llms}) < len(llms):
        raise ConfigError(f"--llm: {', '.join(map(str, llms))} have one name, by which rows are told apart; rename one")
    whole = Declared(size)
    for world in worlds:
        columns = size.columns(world)
        for seed in range(size.seeds):
            one = _World(whole, world, columns, seed, llms)
            for table in only:
                one.declare(table)
    return whole


class _World:
    """The cells of one world and seed."""

    def __init__(self, whole: Declared, world: str, columns: tuple[Column, ...], seed: int, llms: list[Path]) -> None:
        self.whole, self.size, self.world, self.columns, self.seed = whole, whole.size, world, columns, seed
        self.llms = llms
        self.no_language = stages.lacking(llms)

    def declare(self, table: str) -> None:
        """All rows of a table."""
        {
            "1": self.table_1, "2": self.table_2, "3": self.table_3, "4": self.table_4, "5": self.table_5,
            "D": self.appendix_d, "ablations": self.ablations, "steps": self.steps,
        }[table]()  # fmt: skip

    def cell(
        self, kind: str, table: str, row: str, columns: Many[Column], config: TrainConfig | None, **more: Any
    ) -> Cell:
        """A cell of this world and seed."""
        group = columns[0].name if len(columns) == 1 else more.pop("group", "all")
        more.pop("group", None)
        if kind == "train" and "base" not in more:
            more.setdefault("encoders", self.encoders())
        return Cell(kind, table, row, self.world, group, self.seed, tuple(columns), self.size.amount, config, **more)

    def encoders(self) -> Cell:
        """All rows of a world and seed learn above the same encoders."""
        config = rows.encoders(self.size, self.columns, self.seed)
        about = ("train", ENCODERS, ENCODERS, self.world, "all", self.seed, self.columns, self.size.amount)
        return self.whole.add(Cell(*about, config))

    def domain(self, column: Column) -> Cell:
        """Hand-made statistics; the configuration says who is left out."""
        return self.cell("domain", "1", DOMAIN, (column,), rows.unimodal(self.size, column, self.seed))

    def unimodal(self, column: Column) -> Cell:
        return self.cell("train", "1", UNIMODAL, (column,), rows.unimodal(self.size, column, self.seed))

    def multisensory(self, column: Column) -> Cell:
        return self.cell("train", "1", MULTI, (column,), rows.multisensory(self.size, column, self.seed))

    def stage_1(self) -> Cell:
        config = rows.multisensory_multitask(self.size, self.columns, self.seed)
        return self.cell("train", "1", STAGE_1, self.columns, config)

    def multitask(self) -> Cell:
        """As many steps as both stages of IoT-LM together; stage 1 has those of every other row."""
        steps = self.size.steps + self.size.second
        config = rows.multisensory_multitask(self.size, self.columns, self.seed, steps)
        return self.cell("train", "1", MULTI_MT, self.columns, config, options={"floors": True})

    def iot_lm(self, llm: Path, table: str = "1", row: str = IOT_LM, **how: Any) -> Cell:
        """Stage 2 above stage 1 of this seed."""
        base = self.whole.add(self.stage_1())
        assert base.config is not None
        config = stages.instructed(base.config, self.size, len(sets_of(self.columns)), llm, **how)
        return self.cell("train", table, row, self.columns, config, base=base)

    def table_1(self) -> None:
        for column in self.columns:
            self.whole.put("1", DOMAIN, self.domain(column))
            unimodal = self.whole.put("1", UNIMODAL, self.unimodal(column))
            if not self.no_language:
                assert unimodal.config is not None
                adapted = stages.adapter(unimodal.config, self.size, self.llms[0])
                self.whole.put("1", ADAPTER, self.cell("train", "1", ADAPTER, (column,), adapted, base=unimodal))
            mine = told_by(column.main, self.columns)
            shared = rows.unimodal_multitask(self.size, column, self.columns, self.seed)
            one = self.cell("train", "1", UNIMODAL_MT, mine, shared, group=column.main)
            self.whole.put("1", UNIMODAL_MT, one, (column,))
            self.whole.put("1", MULTI, self.multisensory(column))
        self.whole.put("1", STAGE_1, self.stage_1())
        self.whole.put("1", MULTI_MT, self.multitask())
        if not self.no_language:
            self.whole.put("1", IOT_LM, self.iot_lm(self.llms[0]))
        else:
            self.whole.lacking |= dict.fromkeys([("1", ADAPTER), ("1", IOT_LM)], self.no_language)

    def table_2(self) -> None:
        for column in self.columns:
            self.whole.put("2", "single", self.unimodal(column))
            for name, ratio in RATIOS.items():
                config = rows.some_senses(self.size, column, ratio, self.seed)
                self.whole.put("2", name, self.cell("train", "2", name, (column,), config))
            self.whole.put("2", "all", self.multisensory(column))

    def table_3(self) -> None:
        for column in self.columns:
            self.whole.put("3", "single", self.multisensory(column))
        for name, ratio in RATIOS.items():
            for n, group in enumerate(rows.task_groups(self.columns, ratio, self.seed)):
                config = rows.some_tasks(self.size, group, self.seed)
                self.whole.put("3", name, self.cell("train", "3", name, group, config, group=f"group-{n}"))
        self.whole.put("3", "all", self.stage_1())

    def table_4(self) -> None:
        """The targets are held out whole: in the real world from models of the simulator, too."""
        held = [one for one in HELD_OUT[self.world] if one.dataset in sets_of(self.columns)]
        if not held:
            return
        home = (
            self
            if self.world == SIMULATOR
            else _World(self.whole, SIMULATOR, self.size.columns(SIMULATOR), self.seed, self.llms)
        )
        bases = {MULTI_MT: home.whole.add(home.multitask())}
        if self.no_language:
            self.whole.lacking["4", IOT_LM] = self.no_language
        else:
            bases[IOT_LM] = home.whole.add(home.iot_lm(self.llms[0]))
        together = "multi-task, trained on it"
        for column in held:
            source = next(one for one in home.columns if one.task == column.task)
            own = {
                **bases,
                UNIMODAL: home.whole.add(home.unimodal(source)),
                MULTI: home.whole.add(home.multisensory(source)),
            }
            for name, base in own.items():
                for count in self.size.shots:
                    assert base.config is not None
                    config = stages.adapted(base.config, self.size, column.dataset) if count else None
                    more = {"base": base, "options": {"shots": count}}
                    row = f"{name}, {count} shots"
                    self.whole.put("4", row, self.cell("few", "4", row, (column,), config, **more))
            config = rows.multisensory(self.size, column, self.seed)
            trained = self.cell("train", "4", "multisensory, trained on it", (column,), config)
            self.whole.put("4", "multisensory, trained on it", trained)
        if self.world == SIMULATOR:
            config = rows.multisensory_multitask(self.size, held, self.seed)
            self.whole.put("4", together, self.cell("train", "4", together, held, config))
        else:
            self.whole.put("4", together, self.multitask(), held)

    def table_5(self) -> None:
        if self.no_language:
            self.whole.lacking["5", "all sizes"] = self.no_language
        for llm in () if self.no_language else self.llms:
            spoken = self.whole.put("5", llm.name, self.iot_lm(llm, "5", llm.name))
            self._taken_out("5", llm.name, spoken)

    def _taken_out(self, table: str, row: str, spoken: Cell) -> None:
        """The row beside `row`, of the same checkpoints without their language model."""
        silent = self.cell("silence", table, row + TAKEN_OUT, self.columns, None, base=spoken)
        self.whole.put(table, row + TAKEN_OUT, silent)

    def appendix_d(self) -> None:
        trained = [(MULTI_MT, self.multitask()), *((UNIMODAL, self.unimodal(column)) for column in self.columns)]
        if self.no_language:
            self.whole.lacking["D", IOT_LM] = self.no_language
        else:
            trained.insert(0, (IOT_LM, self.iot_lm(self.llms[0])))
        for row, cell in trained:
            base = self.whole.add(cell)
            self.whole.put("D", row, self.cell("disturb", "D", row, base.columns, None, base=base))

    def steps(self) -> None:
        """Rows of Table 1 with more steps, beside themselves and beside each other; of the simulator, to afford it."""
        if self.world == REAL:
            return
        longer = replace(self.size, steps=LONGER * self.size.steps, second=LONGER * self.size.second)
        for column in self.columns:
            self.whole.put(LONG, DOMAIN, self.domain(column))
            config = rows.unimodal(longer, column, self.seed)
            self._longer(UNIMODAL, self.unimodal(column), self.cell("train", "steps", UNIMODAL, (column,), config))
        config = rows.multisensory_multitask(longer, self.columns, self.seed)
        first = self.cell("train", "steps", STAGE_1, self.columns, config)
        self._longer(STAGE_1, self.stage_1(), first)
        if self.no_language:
            self.whole.lacking["steps", IOT_LM] = self.no_language
            return
        config = stages.instructed(config, longer, len(sets_of(self.columns)), self.llms[0])
        last = self.cell("train", "steps", IOT_LM, self.columns, config, base=first)
        self._longer(IOT_LM, self.iot_lm(self.llms[0]), last)
        self._taken_out(LONG, IOT_LM, last)

    def _longer(self, row: str, cell: Cell, longer: Cell) -> None:
        self.whole.put("steps", row, cell)
        self.whole.put("steps", row + MORE, longer)
        self.whole.put(LONG, row, longer)

    def ablations(self) -> None:
        """Of one simulated scene, to afford them. Those of stage 1 are compared with it, the others with IoT-LM."""
        if self.world == REAL:
            return
        scene = tuple(one for one in self.columns if one.dataset == ABLATED)
        config = rows.multisensory_multitask(self.size, scene, self.seed)
        first = self.whole.put("ablations", STAGE_1, self.cell("train", "ablations", STAGE_1, scene, config))
        for name, changed in stages.ablations(config).items():
            self.whole.put("ablations", name, self.cell("train", "ablations", name, scene, changed))
        tuned = self.cell("train", "ablations", TUNED, scene, config, options={"windows": True})
        self.whole.put("ablations", TUNED, tuned)
        if self.no_language:
            self.whole.lacking["ablations", "of the language model"] = self.no_language
            return
        for name, how in {IOT_LM: {}, **stages.CONDITIONINGS}.items():
            spoken = stages.instructed(config, self.size, 1, self.llms[0], **how)
            self.whole.put("ablations", name, self.cell("train", "ablations", name, scene, spoken, base=first))
        told = replace(stages.instructed(config, self.size, 1, self.llms[0]), **stages.WORDS)
        self.whole.put("ablations", TOLD, self.cell("train", "ablations", TOLD, scene, told, base=first))
