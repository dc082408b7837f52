"""From points to options of ECharts. Colours are readable on light and on dark, times are those of the browser.

Names come from devices. ECharts draws them on a canvas, and in tooltips that are no HTML; no key of an option is ever a
stranger's word, because the page takes a key that begins with a colon for a program. It refuses to know NiceGUI.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from backend.serve.console.lines import Lines
from backend.serve.past import Episode
from edge.clock import SECOND

Options = dict[str, Any]
Span = tuple[int, int]
"""From when to when, ns UTC."""

COLOURS = ("#4c78a8", "#e8862e", "#54a24b", "#b279a2", "#d65a5a", "#4fa8a2")
_GREY, _FAINT = "#8a8f98", "rgba(138,143,152,0.22)"
_MARK = "rgba(232,134,46,0.25)"
_TOP, _PANEL, _BETWEEN, _BOTTOM = 34, 78, 28, 22  # pixels
_ROW = 22
_MOST_ROWS = 12
_FAMILY = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", sans-serif'
_FONT = {"fontSize": 10, "color": _GREY}
_SIGNS = {"m/s2": "m/s²", "m/s3": "m/s³", "deg": "°", "1": "", "count": "count"}
_MS = SECOND // 1000
_SHORTEST = SECOND  # of a mark: what is told of a moment is told of a window


def unit_sign(unit: str) -> str:
    """A unit as it is printed; nothing for a share."""
    return _SIGNS.get(unit, unit)


def called(name: str) -> str:
    """A channel or a fact as a legend has it: `acc_x` is acc x, `imu.rms` is rms."""
    return name.rpartition(".")[2].replace("_", " ")


def height(panels: Sequence[Lines]) -> int:
    """Pixels that a plot of these takes."""
    return _TOP + len(panels) * (_PANEL + _BETWEEN) - _BETWEEN + _BOTTOM


def plot(panels: Sequence[Lines], span: Span, mark: Span | None = None) -> Options:
    """Panels below each other, on one axis of time."""
    series, colour = [], 0
    for i, panel in enumerate(panels):
        for k, name in enumerate(panel.names):
            line = {
                "type": "line", "name": called(name), "datasetIndex": i, "xAxisIndex": i, "yAxisIndex": i,
                "encode": {"x": 0, "y": k + 1}, "showSymbol": False, "lineStyle": {"width": 1.2},
                "itemStyle": {"color": COLOURS[colour % len(COLOURS)]}, "emphasis": {"disabled": True},
            }  # fmt: skip
            if k == 0:
                line["markArea"] = _marked(mark)
            series.append(line)
            colour += 1
    return {
        "animation": False,
        "textStyle": {"fontFamily": _FAMILY},
        "grid": [
            {"left": 46, "right": 18, "top": _TOP + i * (_PANEL + _BETWEEN), "height": _PANEL}
            for i in range(len(panels))
        ],
        "legend": {
            "top": 0, "right": 6, "itemWidth": 10, "itemHeight": 6, "itemGap": 8, "icon": "roundRect",
            "textStyle": _FONT,
        },
        "tooltip": _tooltip(),
        "axisPointer": {"link": [{"xAxisIndex": "all"}]},
        "dataset": datasets(panels),
        "xAxis": times(panels, span),
        "yAxis": [_value(i, unit_sign(panel.unit)) for i, panel in enumerate(panels)],
        "series": series,
    }  # fmt: skip


def datasets(panels: Sequence[Lines]) -> list[Options]:
    """The points of a plot."""
    return [{"source": panel.rows, "sourceHeader": False} for panel in panels]


def times(panels: Sequence[Lines], span: Span) -> list[Options]:
    """The axes of time of a plot."""
    return [_time(span, i, labels=i == len(panels) - 1) for i in range(len(panels))]


def bars(episodes: Sequence[Episode], words: Mapping[str, Mapping[str, str]], span: Span, mark: Span | None) -> Options:
    """What was told from when to when: a row for each label, in a colour for each task; the newest row is on top."""
    newest = {(one.task, one.label): one.began for one in episodes}
    order = sorted(newest, key=lambda key: newest[key])[-_MOST_ROWS:]
    tasks = sorted({task for task, _ in order})
    series = []
    for i, task in enumerate(tasks):
        data: list[tuple[float | None, int | None]] = []
        for one in episodes:
            if one.task == task and (task, one.label) in order:
                row, ended = order.index((task, one.label)), one.ended or span[1]
                data += [(max(one.began, span[0]) / _MS, row), (max(ended, one.began) / _MS, row), (None, None)]
        series.append(
            {
                "type": "line", "name": task.replace("-", " "), "data": tuple(data), "showSymbol": False,
                "connectNulls": False, "lineStyle": {"width": 10, "cap": "butt"}, "emphasis": {"disabled": True},
                "itemStyle": {"color": COLOURS[i % len(COLOURS)]}, **({"markArea": _marked(mark)} if i == 0 else {}),
            }
        )  # fmt: skip
    names = [words.get(task, {}).get(label, label) for task, label in order]
    return {
        "animation": False,
        "textStyle": {"fontFamily": _FAMILY},
        "grid": {"left": 136, "right": 22, "top": 28, "bottom": 24},
        "legend": {"top": 0, "left": 0, "itemWidth": 10, "itemHeight": 6, "textStyle": _FONT, "type": "scroll",
                   "pageIconSize": 9, "pageTextStyle": _FONT, "icon": "roundRect"},
        "xAxis": _time(span, 0, labels=True),
        "yAxis": {
            "type": "category", "data": names, "axisTick": {"show": False}, "axisLine": {"show": False},
            "axisLabel": {**_FONT, "fontSize": 11, "width": 124, "overflow": "truncate"},
            "splitLine": {"show": True, "lineStyle": {"color": _FAINT}},
        },
        "series": series or [{"type": "line", "data": [], "markArea": _marked(mark)}],
    }  # fmt: skip


def bars_height(episodes: Sequence[Episode]) -> int:
    """Pixels that `bars` takes."""
    rows = len({(one.task, one.label) for one in episodes})
    return 56 + _ROW * max(2, min(rows, _MOST_ROWS))


def weights(rows: Sequence[str], columns: Sequence[str], values: Mapping[tuple[int, int], float]) -> Options:
    """A table of weights 0..1: `values` by (row, column), where there are any."""
    data = [
        {
            "value": [column, len(rows) - 1 - row, round(value, 3)],
            "label": {"show": True, "formatter": f"{value:.0%}", "fontSize": 10, "color": _GREY},
            "itemStyle": {"color": f"rgba(76,120,168,{0.08 + 0.8 * value:.2f})"},
        }
        for (row, column), value in values.items()
    ]
    for cell in data:
        if cell["value"][2] > 0.6:  # type: ignore[index]
            cell["label"]["color"] = "#fff"  # type: ignore[index]
    axis = {"type": "category", "axisTick": {"show": False}, "axisLine": {"show": False}, "splitArea": {"show": False}}
    return {
        "animation": False,
        "textStyle": {"fontFamily": _FAMILY},
        "grid": {"left": 136, "right": 8, "top": 40, "bottom": 4},
        "xAxis": {**axis, "position": "top", "data": list(columns),
                  "axisLabel": {**_FONT, "interval": 0, "width": 78, "overflow": "break", "lineHeight": 12}},
        "yAxis": {**axis, "data": list(reversed(rows)),
                  "axisLabel": {**_FONT, "fontSize": 11, "width": 124, "overflow": "truncate"}},
        "series": [{"type": "heatmap", "data": data, "emphasis": {"disabled": True}}],
        "visualMap": {"show": False, "min": 0, "max": 1, "inRange": {"opacity": [1, 1]}},
    }  # fmt: skip


def weights_height(rows: int) -> int:
    """Pixels that `weights` takes."""
    return 44 + _ROW * rows


def _time(span: Span, grid: int, *, labels: bool) -> Options:
    return {
        "type": "time", "gridIndex": grid, "min": span[0] / _MS, "max": span[1] / _MS, "splitNumber": 3,
        "axisLine": {"onZero": False, "lineStyle": {"color": _FAINT}}, "axisTick": {"show": labels},
        "splitLine": {"show": False},
        "axisLabel": {**_FONT, "show": labels, "formatter": "{HH}:{mm}:{ss}", "hideOverlap": True},
    }  # fmt: skip


def _value(grid: int, unit: str) -> Options:
    return {
        "type": "value", "gridIndex": grid, "scale": True, "splitNumber": 2, "name": unit, "nameGap": 9,
        "nameTextStyle": {**_FONT, "align": "right"}, "axisLabel": {**_FONT, "hideOverlap": True},
        "splitLine": {"lineStyle": {"color": _FAINT}},
    }  # fmt: skip


def _tooltip() -> Options:
    return {"trigger": "axis", "renderMode": "richText", "confine": True, "textStyle": {"fontSize": 11}}


def _marked(span: Span | None) -> Options:
    if span is None:
        return {"data": []}
    ends = [{"xAxis": span[0] / _MS}, {"xAxis": max(span[1], span[0] + _SHORTEST) / _MS}]
    return {"silent": True, "itemStyle": {"color": _MARK}, "data": [ends]}
