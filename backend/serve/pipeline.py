"""The loop of serving: receive, align, batch, decide, commit, publish, acknowledge.

Everything that computes or waits for the disk runs in one worker thread, so the event loop, and with it the MQTT
keep-alive, is never held up. A frame is acknowledged when the commit that contains it is durable, and not before.
Questions are answered beside all that, in threads of their own. The pipeline refuses to know how any stage does its
work.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy.exc import OperationalError

from backend.answer import Answer
from backend.metrics import Metrics
from backend.model.history import Context
from backend.serve.align import HOP_NS, Aligner, Closed, Grouping
from backend.serve.answers import Answers
from backend.serve.batcher import Batcher
from backend.serve.config import ServeConfig
from backend.serve.dialogue import Dialogue
from backend.serve.engine import Engine, Model
from backend.serve.ingest import Ingest, Sender, Verdict
from backend.serve.notices import Notices
from backend.serve.recent import Recent
from backend.serve.situations import Situations
from backend.serve.store import Commit, Store
from broker import topics
from broker.errors import ConfigError, LinkDown, MessageError
from broker.link import Link, Message
from broker.messages import Ack, Estimate, Event, decode_status, encode_json
from broker.modalities import MODALITIES

if TYPE_CHECKING:
    from backend.model.talk import Talk

log = logging.getLogger(__name__)

_TICK_S = 0.1
_STALL_S = 0.25  # a longer step of the clock was spent elsewhere: messages may wait unseen, so it counts as this
_FAIR = 32  # messages after which other tasks get their turn
_PAGE = 256  # waiting events published in one go
_RETRY_S = 1.0
_OLD = (
    "an estimate about {age_s:.0f} s ago is no news, and is not told: so it is with what a device has kept while it "
    "was cut off, with a recording sent without `edge replay --now`, and with a clock that is behind"
)


class Pipeline:
    """One backend: what it has accepted, what is open, what it will do next.

    Args:
        config: the settings.
        link: entered by `run`.
        model: encodes and decides.
        store: holds everything that outlives the process.
        metrics: counts.
        talk: the language model that answers questions, started and closed by the caller; None: facts alone answer.
        clock: monotonic seconds.
        now: UTC nanoseconds.
    """

    def __init__(
        self,
        config: ServeConfig,
        link: Link,
        model: Model,
        store: Store,
        metrics: Metrics,
        *,
        talk: "Talk | None" = None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], int] = time.time_ns,
    ) -> None:
        self._config, self._link, self._store, self._metrics = config, link, store, metrics
        self._clock, self._now = clock, now
        self._listened_s = 0.0
        self._news_s = config.lateness_s + max(config.max_wait_s, config.idle_s)  # as long as any moment waits
        self._notices = notices = Notices()
        snapshot = store.load()
        self.ingest = Ingest(snapshot.marks, metrics, model.check, now, config.limits.limits(), notices)
        grouping = Grouping({name: group.devices for name, group in config.groups.items()})
        self.recent = Recent(grouping.key, now) if config.console else None
        self.aligner = Aligner(
            grouping,
            {key: state.slot for key, state in snapshot.groups.items()},
            hop_ns=HOP_NS,
            lateness_s=config.lateness_s,
            idle_s=config.idle_s,
            max_wait_s=config.max_wait_s,
            clock=lambda: self._listened_s,
            max_groups=config.limits.devices,
            notices=notices,
        )
        self.batcher: Batcher[Closed] = Batcher(config.batch.size, config.batch.deadline_ms / 1e3, clock)
        self.engine = Engine(
            model,
            snapshot.groups,
            metrics,
            hop_ns=HOP_NS,
            update_s=config.update_s,
            tasks_of=_tasks_of(config, model),
            busy=talk.way if talk else None,
            clock=clock,
        )
        self._model, self.tasks = model, model.tasks
        self.dialogue = self._dialogue(talk)
        self._answers = Answers(link, self.dialogue, now)
        self._again: set[Sender] = set()  # senders to whom their watermark is to be told again
        self._speaking = asyncio.Lock()  # events leave in the order of their offsets
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="engine")

    async def run(self) -> None:
        """Serve until cancelled."""
        site = self._config.site
        try:
            async with self._link as link, asyncio.TaskGroup() as tasks:
                everything = (topics.STATUS_ALL, topics.FRAMES_ALL, topics.ASK_ALL)
                await link.subscribe(*(each.replace("+", site, 1) for each in everything))
                for stage in (self._receive(), self._tick(), self._work(), self._catch_up(), self._answers.run()):
                    tasks.create_task(stage)
        finally:
            self._worker.shutdown(wait=True)
            self.dialogue.close()

    def _dialogue(self, talk: "Talk | None") -> Dialogue:
        about = self._config.dialogue
        situations = Situations(
            self._store,
            self.engine,
            self._model.tasks,
            minutes=about.minutes,
            hours=about.hours,
            hop_ns=HOP_NS,
            zone=about.zone,
            clock=self._clock,
            now=self._now,
        )
        return Dialogue(
            situations,
            talk,
            self._decide,
            self._model.digest,
            self._metrics,
            time_s=about.time_s,
            waiting=about.waiting,
            session_s=about.session_s,
            sessions=about.sessions,
            clock=self._clock,
        )

    async def _decide(self, context: Context) -> Mapping[str, Answer]:
        """What the model says of a context that somebody has chosen."""
        loop = asyncio.get_running_loop()
        return (await loop.run_in_executor(self._worker, self._model.decide, [context]))[0]

    async def _receive(self) -> None:
        count = 0
        async for message in self._link.messages():
            self.take(message)
            count += 1
            if count % _FAIR == 0:
                await asyncio.sleep(0)

    def take(self, message: Message) -> None:
        """Handle one message off the wire; whatever it contains, it raises nothing."""
        try:
            self._handle(message)
        except MessageError as error:
            self.ingest.bury(message.topic, message.payload, error.reason, str(error))
        except Exception:  # what nobody thought of must not end the service for everyone else
            log.exception("a message on %.200s could not be handled", message.topic)
            self.ingest.bury(message.topic, message.payload, "unexpected", "see the log")

    def _handle(self, message: Message) -> None:
        topic = topics.parse(message.topic)
        if isinstance(topic, topics.StatusTopic) and message.payload:
            status = decode_status(message.payload)
            if self.recent is not None:
                self.recent.status(topic.site, topic.device, status)
            self.batcher.put(self.aligner.status(topic.site, topic.device, status))
        elif isinstance(topic, topics.FrameTopic):
            verdict, sender, accepted = self.ingest.take(topic, message.payload)
            if accepted is not None:
                if self.recent is not None and accepted.window is not None:
                    self.recent.window(topic.site, accepted.window)
                self.batcher.put(self.aligner.add(accepted))
            elif verdict is Verdict.COMMITTED and sender is not None:
                self._again.add(sender)
        elif isinstance(topic, topics.AskTopic):
            self._answers.take(topic, message)

    async def _tick(self) -> None:
        """What happens because time passes. Only time in which messages can arrive counts."""
        last, session = self._clock(), 0
        while True:
            await asyncio.sleep(_TICK_S)
            now = self._clock()
            if self._link.connected:
                self._listened_s += min(now - last, _STALL_S)
                self.batcher.put(self.aligner.tick())
                again, self._again = self._again, set()
                await self._acknowledge(self.ingest.watermarks(again))
            self._metrics.sessions.inc(self._link.session - session)
            last, session = now, self._link.session
            self._gauge()

    def _gauge(self) -> None:
        self._metrics.connected.set(self._link.connected)
        self._metrics.pending.set(self.ingest.pending)
        self._metrics.open_moments.set(self.aligner.open_moments)
        self._metrics.queued.set(len(self.batcher))
        self._metrics.waiting_events.set(self._store.unpublished)
        self._metrics.devices.set(self.aligner.online)

    async def _work(self) -> None:
        while True:
            batch = await self.batcher.next()
            await self._decide_and_commit(batch)

    async def _decide_and_commit(self, batch: list[Closed]) -> None:
        loop = asyncio.get_running_loop()
        settled = self.ingest.settle(receipt for closed in batch for receipt in closed.receipts)
        forgotten = self.ingest.forgotten()
        outcome = await loop.run_in_executor(self._worker, self.engine.process, batch)
        commit = Commit(
            windows=[(receipt, closed.by) for closed in batch for receipt in closed.receipts],
            decisions=outcome.decisions,
            events=outcome.events,
            groups=outcome.groups,
            marks={sender: mark for sender, (_, mark) in settled.items()},
            forgotten=forgotten,
            measured=outcome.measured,
        )
        async with self._speaking:
            events = await self._commit(commit)
            self.ingest.confirm(settled)
            self._count(batch, commit)
            await self._publish(events)
        await self._tell(outcome.estimates)
        await self._acknowledge({sender: mark.watermark for sender, mark in commit.marks.items()})

    async def _commit(self, commit: Commit) -> list[Event]:
        """Commit, however long it takes: a full disk is waited out, and devices keep what is not acknowledged."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                with self._metrics.commit_s.time():
                    return await loop.run_in_executor(
                        self._worker, lambda: self._store.commit(commit, publish=self._link.connected)
                    )
            except OperationalError as error:
                self._metrics.failures.labels("commit").inc()
                log.error("the store cannot be written, trying again: %s", error.orig)
                await asyncio.sleep(_RETRY_S)

    def _count(self, batch: list[Closed], commit: Commit) -> None:
        now = self._now()
        self._metrics.batch.observe(len(batch))
        self._metrics.windows.inc(len(commit.windows))
        for event in commit.events:
            self._metrics.events.labels(event.task, event.phase).inc()
        for sender, mark in commit.marks.items():
            self._note(sender, lost=sum(gap.last - gap.first + 1 for gap in mark.gaps))
        for closed in batch:
            if closed.moment is None:
                if closed.by == "late":
                    self._metrics.late_windows.inc(len(closed.receipts))
                    for receipt in closed.receipts:
                        self._note(receipt.sender, late=1)
                elif closed.receipts:
                    self._metrics.unplaced.labels(closed.by).inc(len(closed.receipts))
                continue
            self._metrics.moments.labels(closed.by).inc()
            length_s = max(MODALITIES[window.modality].window_s for window in closed.moment.windows)
            self._metrics.delay_s.observe(max(0.0, (now - closed.moment.t0) / 1e9 - length_s))

    def _note(self, sender: Sender, *, lost: int = 0, late: int = 0) -> None:
        if self.recent is not None:
            self.recent.note(sender.site, sender.device, lost=lost, late=late)

    async def _catch_up(self) -> None:
        """Publish the events that were committed while the broker was away."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_TICK_S)
            await self._link.wait_connected()
            if not self._store.unpublished:
                continue
            async with self._speaking:
                with contextlib.suppress(OperationalError):  # counted and told where commits fail
                    events = await loop.run_in_executor(self._worker, self._store.take_unpublished, _PAGE)
                    await self._publish(events)

    async def _publish(self, events: list[Event]) -> None:
        for event in events:
            with contextlib.suppress(LinkDown):  # at most once: the store has it for whoever asks
                await self._link.publish(topics.events(event.site, event.group, event.task), encode_json(event))
                self._metrics.published.inc()

    async def _tell(self, estimates: list[Estimate]) -> None:
        """Estimates go to whoever listens now; when the broker is away nobody does. What is no news is not told."""
        for estimate in estimates:
            age_s = self._now() / 1e9 - datetime.fromisoformat(estimate.time).timestamp()
            if age_s > self._news_s:
                self._metrics.old_estimates.inc()
                self._notices.say(f"{estimate.site}/{estimate.group}", "old", _OLD.format(age_s=age_s))
                continue
            with contextlib.suppress(LinkDown):
                topic = topics.estimates(estimate.site, estimate.group, estimate.task)
                await self._link.publish(topic, encode_json(estimate))
                self._metrics.estimates.labels(estimate.task).inc()

    async def _acknowledge(self, watermarks: dict[Sender, int]) -> None:
        for sender, watermark in watermarks.items():
            with contextlib.suppress(LinkDown):  # the device sends again, and is told again
                ack = encode_json(Ack(sender.epoch, watermark))
                await self._link.publish(topics.acks(sender.site, sender.device), ack)
                self._metrics.acks.inc()


def _tasks_of(config: ServeConfig, model: Model) -> Callable[[str], Collection[str]]:
    """From a group's name to the tasks that are told of it: what the settings name, else all that the model knows.

    Raises:
        ConfigError: the settings name a task that the model does not know.
    """
    named = {"tasks": config.tasks} | {f"groups.{name}.tasks": group.tasks for name, group in config.groups.items()}
    for where, tasks in named.items():
        if unknown := [task for task in tasks or () if task not in model.tasks]:
            raise ConfigError(f"{where}: the model knows no {unknown[0]!r}; it knows {', '.join(model.tasks)}")
    everywhere = tuple(model.tasks) if config.tasks is None else config.tasks

    def of(group: str) -> Collection[str]:
        own = config.groups[group].tasks if group in config.groups else None
        return everywhere if own is None else own

    return of
