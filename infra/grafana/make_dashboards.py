"""Grafana's dashboards: `poe dashboards` writes them to the folder `dashboards`.

What a panel says of itself is the help of the metrics that it asks for.
"""

import re
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from string import ascii_uppercase
from typing import Final, TypeAlias

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    BigValueGraphMode,
    BigValueTextMode,
    GraphTresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMapping,
    ValueMappingResult,
    VariableRefresh,
    VariableSort,
)

from assay.domain.metrics import METRICS
from assay_ml_api.metrics import METRICS as API_METRICS

FOLDER: Final = Path(__file__).with_name("dashboards")

Query: TypeAlias = tuple[str, str]
"""PromQL, and what its series are called."""
Panel: TypeAlias = stat.Panel | timeseries.Panel

_HELP: Final = {each.name: each.help for each in (*METRICS, *API_METRICS)}
_SOURCE: Final = DataSourceRef(type_val="prometheus", uid="${datasource}")
_P: Final = '{pipeline=~"$pipeline"}'
_SEVERAL: Final = 12  # columns of a panel, of 24
_GREEN, _ORANGE, _RED = "green", "orange", "red"


def _described(queries: Sequence[Query], about: str) -> str:
    """What is said of a panel, and the help of each metric in it."""
    names = re.findall(r"\bassay_\w+", " ".join(expr for expr, _ in queries))
    plain = dict.fromkeys(re.sub(r"_(bucket|sum|count)$", "", each) for each in names)
    return "\n\n".join(filter(None, [about, *(f"`{each}`: {_HELP[each]}" for each in plain)]))


def _targets(queries: Sequence[Query]) -> list[prometheus.Dataquery]:
    """Queries, each with the letter that Grafana knows it by."""
    return [
        prometheus.Dataquery().ref_id(letter).expr(expr).legend_format(legend)
        for letter, (expr, legend) in zip(ascii_uppercase, queries, strict=False)
    ]


def _steps(bounds: Mapping[float, str], first: str) -> dashboard.ThresholdsConfig:
    steps = [Threshold(value=None, color=first)]
    steps += [Threshold(value=value, color=color) for value, color in bounds.items()]
    return dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)


def _now(
    title: str,
    *queries: Query,
    unit: str = "short",
    bounds: Mapping[float, str] | None = None,
    words: Mapping[str, tuple[str, str]] | None = None,
    nothing: str = "-",
    about: str = "",
    width: int = 4,
) -> stat.Panel:
    """How something stands: one value for each series.

    Args:
        title: of the panel.
        queries: what is asked.
        unit: one of Grafana's.
        bounds: from where on the value has another color than green.
        words: shown in place of a value, with their color.
        nothing: shown where there is no series.
        about: goes before the help of the metrics.
        width: in columns, of 24.
    """
    panel = (
        stat.Panel()
        .title(title)
        .description(_described(queries, about))
        .datasource(_SOURCE)
        .unit(unit)
        .thresholds(_steps(bounds or {}, _GREEN))
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .color_mode(BigValueColorMode.VALUE)
        .graph_mode(BigValueGraphMode.NONE)
        .text_mode(BigValueTextMode.AUTO)
        .no_value(nothing)
        .span(width)
        .height(4)
    )
    if words:
        options = {
            value: ValueMappingResult(text=text, color=color)
            for value, (text, color) in words.items()
        }
        mapping: list[ValueMapping] = [ValueMap(options=options)]
        panel.mappings(mapping)
    for each in _targets(queries):
        panel.with_target(each.instant())
    return panel


def _graph(
    title: str,
    *queries: Query,
    unit: str = "short",
    bound: float | None = None,
    stacked: bool = False,
    most: float | None = None,
    about: str = "",
) -> timeseries.Panel:
    """How something has gone.

    Args:
        title: of the panel.
        queries: what is asked.
        unit: one of Grafana's.
        bound: a line from which on it is too much.
        stacked: whether series add up to something.
        most: the highest possible value.
        about: goes before the help of the metrics.
    """
    panel = (
        timeseries.Panel()
        .title(title)
        .description(_described(queries, about))
        .datasource(_SOURCE)
        .unit(unit)
        .min(0)
        .fill_opacity(30 if stacked else 8)
        .line_width(1)
        .legend(
            common.VizLegendOptions()
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(True)  # noqa: FBT003 - as the builder has it
        )
        .tooltip(
            common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING)
        )
        .span(_SEVERAL)
        .height(8)
    )
    if stacked:
        panel.stacking(common.StackingConfig().mode(StackingMode.NORMAL))
    if most is not None:
        panel.max(most)
    if bound is not None:
        panel.thresholds(_steps({bound: _RED}, "transparent"))
        panel.thresholds_style(
            common.GraphThresholdsStyleConfig().mode(GraphTresholdsStyleMode.LINE)
        )
    for each in _targets(queries):
        panel.with_target(each)
    return panel


def _quantiles(histogram: str, labels: str = "") -> list[Query]:
    """The median and two high quantiles of what a histogram counts."""
    rate = f"sum by (le) (rate({histogram}_bucket{labels}[$__rate_interval]))"
    return [(f"histogram_quantile({each / 100:g}, {rate})", f"{each} %") for each in (50, 95, 99)]


def _rate(counter: str, by: str, labels: str = "") -> str:
    return f"sum by ({by}) (rate({counter}{labels}[$__rate_interval]))"


def _board(
    name: str, title: str, about: str, rows: Mapping[str, Sequence[Panel]], *, pipelines: bool
) -> dashboard.Dashboard:
    """A dashboard of rows.

    Args:
        name: of its file and address.
        title: what people call it.
        about: what it shows.
        rows: panels, from left to right, by the row's title.
        pipelines: whether a pipeline may be chosen.
    """
    board = (
        dashboard.Dashboard(title)
        .uid(f"assay-{name}")
        .description(about)
        .tags(["assay"])
        .readonly()
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .time("now-6h", "now")
        .refresh("30s")
        .timezone("browser")
        .link(
            dashboard.DashboardLink("Assay")
            .type(DashboardLinkType.DASHBOARDS)
            .tags(["assay"])
            .as_dropdown(False)  # noqa: FBT003 - as the builder has it
            .keep_time(True)  # noqa: FBT003
        )
        .with_variable(
            dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus")
        )
    )
    if pipelines:
        board.with_variable(
            dashboard.QueryVariable("pipeline")
            .label("Pipeline")
            .description("stream, classify, a connector, or redrive: letters tried again")
            .datasource(_SOURCE)
            .query("label_values(assay_records_total, pipeline)")
            .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
            .sort(VariableSort.ALPHABETICAL_ASC)
            .multi(True)  # noqa: FBT003
            .include_all(True)  # noqa: FBT003
            .all_value(".*")
        )
    number = count(1)
    for row, panels in rows.items():
        board.with_row(dashboard.Row(row).id(next(number)))
        for panel in panels:
            board.with_panel(panel.id(next(number)))
    return board


_BALANCED: Final = 'assay_run_end_timestamp_seconds{kind="reconcile", status="balanced"}'
_UNBALANCED: Final = 'assay_run_end_timestamp_seconds{kind="reconcile", status="unbalanced"}'

_BOOKS: Final = (
    _now(
        "Books",
        (
            f"max({_BALANCED}) > bool (max({_UNBALANCED}) or vector(0)) or 0 * max({_UNBALANCED})",
            "",
        ),
        words={"1": ("balance", _GREEN), "0": ("do not balance", _RED)},
        nothing="never proved",
        about="What the latest `assay reconcile` has found.",
    ),
    _now(
        "Books proved",
        ('time() - max(assay_run_end_timestamp_seconds{kind="reconcile"})', ""),
        unit="s",
        bounds={26 * 3600: _ORANGE},
        nothing="never",
        about="How long ago.",
    ),
)


def pipeline() -> dashboard.Dashboard:
    """Records, their doors, and what each stage takes."""
    return _board(
        "pipeline",
        "Assay: pipeline",
        "Records on their way: by which door they leave, and what holds them up.",
        {
            "Now": [
                _now(
                    "Records a second",
                    (f"sum(assay:records:rate5m{_P})", ""),
                    unit="cps",
                    about="By all doors, over five minutes.",
                ),
                _now(
                    "Rejected",
                    (f"max(assay:reject_ratio:rate10m{_P})", ""),
                    unit="percentunit",
                    bounds={0.05: _ORANGE, 0.2: _RED},
                    about="Of the records of ten minutes; the pipeline with the largest share.",
                ),
                _now(
                    "Waiting records",
                    (f"sum(assay:lag_records:sum{_P})", ""),
                    about="Lag, over all partitions.",
                ),
                _now(
                    "Breakers",
                    (f"max(assay_breaker_open{_P})", ""),
                    words={"0": ("closed", _GREEN), "1": ("open", _RED)},
                ),
                *_BOOKS,
            ],
            "Doors": [
                _graph(
                    "Records by door",
                    (f"sum by (door) (assay:records:rate5m{_P})", "{{door}}"),
                    unit="cps",
                    stacked=True,
                    about=f"`assay_records_total`: {_HELP['assay_records_total']}",
                ),
                _graph(
                    "Share of rejects",
                    (f"assay:reject_ratio:rate10m{_P}", "{{pipeline}}"),
                    unit="percentunit",
                    bound=0.2,
                    about="Of the records of ten minutes.",
                ),
            ],
            "Stages": [
                _graph("Classifying", *_quantiles("assay_classify_seconds", _P), unit="s"),
                _graph("Commits", *_quantiles("assay_commit_seconds", _P), unit="s"),
                _graph(
                    "Attempts",
                    (
                        _rate("assay_attempts_total", "dependency, result", _P),
                        "{{dependency}} {{result}}",
                    ),
                    unit="cps",
                ),
                _graph(
                    "Open breakers",
                    (
                        f"max by (pipeline, dependency) (assay_breaker_open{_P})",
                        "{{pipeline}} {{dependency}}",
                    ),
                    most=1,
                ),
            ],
            "Window and limits": [
                _graph(
                    "Chunks in the window",
                    (f"sum by (instance) (assay_window_chunks{_P})", "{{instance}}"),
                ),
                _graph(
                    "Bytes in the window",
                    (f"sum by (instance) (assay_window_bytes{_P})", "{{instance}}"),
                    unit="bytes",
                ),
                _graph(
                    "Records at once, at most",
                    (f"min by (instance) (assay_chunk_records_limit{_P})", "chunk, {{instance}}"),
                    (f"min by (instance) (assay_call_records_limit{_P})", "call, {{instance}}"),
                ),
                _graph(
                    "Calls to the classifier",
                    (f"sum(assay_classifier_calls{_P})", "under way"),
                    (f"sum(assay_classifier_calls_limit{_P})", "at most"),
                ),
            ],
            "Runs": [
                _now(
                    "Ended, how long ago",
                    (
                        "time() - max by (kind, status) (assay_run_end_timestamp_seconds)",
                        "{{kind}} {{status}}",
                    ),
                    unit="s",
                    width=24,
                    about="Batch runs, redrives and proofs of the books.",
                ),
            ],
        },
        pipelines=True,
    )


def consumers() -> dashboard.Dashboard:
    """What waits on topics, and who works on it."""
    return _board(
        "consumers",
        "Assay: consumers",
        "What waits on topics, and the services that read them.",
        {
            "Now": [
                _now(
                    "Services that answer",
                    ('count by (job) (up{job=~".*assay.*"} == 1)', "{{job}}"),
                    width=12,
                    about="Those that Prometheus could ask just now.",
                ),
                _now(
                    "Since the last commit",
                    (
                        f"time() - max by (pipeline) (assay_last_commit_timestamp_seconds{_P})",
                        "{{pipeline}}",
                    ),
                    unit="s",
                    width=12,
                ),
            ],
            "Lag": [
                _graph(
                    "Lag by partition",
                    (
                        f"sum by (pipeline, partition) (assay_lag_records{_P})",
                        "{{pipeline}}/{{partition}}",
                    ),
                    about="A sum over all services: who has given a partition up says 0 of it.",
                ),
                _graph(
                    "Lag as time",
                    (
                        (
                            f"assay:lag_records:sum{_P} / (sum by (pipeline)"
                            f" (assay:records:rate5m{_P}) > 0)"
                        ),
                        "{{pipeline}}",
                    ),
                    unit="s",
                    bound=900,
                    about="How long it takes to work off what waits, at the rate of now.",
                ),
                _graph(
                    "Positions",
                    (
                        f"max by (pipeline, partition) (assay_position{_P})",
                        "{{pipeline}}/{{partition}}",
                    ),
                ),
                _graph(
                    "Offsets a second",
                    (
                        (
                            "sum by (pipeline) (clamp_min(deriv(max by (pipeline, partition)"
                            f" (assay_position{_P})[5m:]), 0))"
                        ),
                        "{{pipeline}}",
                    ),
                    unit="cps",
                    about="How fast positions move.",
                ),
            ],
            "Services": [
                _graph(
                    "Seconds since the last commit",
                    (
                        f"time() - assay_last_commit_timestamp_seconds{_P}",
                        "{{pipeline}} {{instance}}",
                    ),
                    unit="s",
                ),
                _graph(
                    "Connections to PostgreSQL",
                    (f"sum by (instance) (assay_database_connections{_P})", "{{instance}}"),
                ),
                _graph(
                    "Records by service",
                    (_rate("assay_records_total", "instance", _P), "{{instance}}"),
                    unit="cps",
                ),
                _graph(
                    "Dropped events",
                    (_rate("assay_events_dropped_total", "pipeline", _P), "{{pipeline}}"),
                    unit="cps",
                ),
            ],
        },
        pipelines=True,
    )


def _beside_reference(title: str, metric: str, distance: str) -> timeseries.Panel:
    return _graph(
        title,
        (f"max by (version) ({metric})", "{{version}}"),
        (f"max by (version) ({metric}_reference)", "{{version}} at training"),
        unit="percentunit",
        most=1,
        about=f"Unlike at training: more than {distance}.",
    )


def model() -> dashboard.Dashboard:
    """The model API: calls, answers, versions and drift."""
    return _board(
        "model",
        "Assay: model",
        "The model API: how it answers, with which version, and whether traffic is as at training.",
        {
            "Now": [
                _now("Calls a second", ("sum(rate(assay_api_calls_total[5m]))", ""), unit="cps"),
                _now(
                    "Failed calls",
                    ("assay:api_errors:ratio_rate10m", ""),
                    unit="percentunit",
                    bounds={0.01: _ORANGE, 0.05: _RED},
                    about="Share of the calls of ten minutes that were answered with 5xx.",
                ),
                _now(
                    "95 % of calls within",
                    ("assay:api_seconds:p95_10m", ""),
                    unit="s",
                    bounds={1: _ORANGE, 5: _RED},
                    about="Of the calls of ten minutes.",
                ),
                _now("Open calls", ("sum(assay_api_calls_open)", "")),
                _now(
                    "Versions",
                    ("count by (name, version) (assay_api_model_info == 1)", "{{version}}"),
                    width=8,
                    about="How many processes answer with which.",
                ),
            ],
            "Calls": [
                _graph(
                    "Calls by status",
                    (_rate("assay_api_calls_total", "status"), "{{status}}"),
                    unit="cps",
                    stacked=True,
                ),
                _graph("Seconds of a call", *_quantiles("assay_api_seconds"), unit="s", bound=5),
                _graph(
                    "Records by verdict",
                    (_rate("assay_api_records_total", "verdict"), "{{verdict}}"),
                    unit="cps",
                    stacked=True,
                ),
                _graph("Open calls", ("sum by (instance) (assay_api_calls_open)", "{{instance}}")),
            ],
            "Drift": [
                _graph(
                    "Mix of categories",
                    ("max by (version) (assay_api_drift_psi)", "{{version}}"),
                    bound=0.2,
                    about="Below 0.1 is no change worth a word.",
                ),
                _beside_reference("Mean confidence", "assay_api_mean_confidence", "0.05 lower"),
                _beside_reference("Share for review", "assay_api_review_share", "0.05 higher"),
                _beside_reference(
                    "Share of unseen descriptors", "assay_api_unseen_share", "0.1 higher"
                ),
            ],
            "Versions": [
                _graph(
                    "Reloads",
                    (
                        "sum by (result) (increase(assay_api_reloads_total[$__rate_interval]))",
                        "{{result}}",
                    ),
                ),
                _graph(
                    "The challenger's answers",
                    (_rate("assay_api_shadow_records_total", "result"), "{{result}}"),
                    unit="cps",
                    stacked=True,
                ),
            ],
        },
        pipelines=False,
    )


def dead_letters() -> dashboard.Dashboard:
    """Rejects: how many are open, wait, or were tried again."""
    return _board(
        "dead-letters",
        "Assay: dead letters",
        "Rejects: what is open, what waits to be published, and what became of further attempts.",
        {
            "Now": [
                _now("Open", ("sum(assay:letters_open:max)", ""), about="All codes together."),
                _now(
                    "Waiting to be published",
                    ("sum(max by (destination) (assay_letters_waiting))", ""),
                    bounds={1: _ORANGE},
                ),
                _now(
                    "Published in an hour", ("sum(increase(assay_letters_published_total[1h]))", "")
                ),
                _now(
                    "Stuck in a day",
                    ('sum(increase(assay_letters_retried_total{result="stuck"}[1d]))', ""),
                    bounds={1: _RED},
                    about="Letters that break their redrive off.",
                ),
                *_BOOKS,
            ],
            "Letters": [
                _graph(
                    "Open by code",
                    ("assay:letters_open:max", "{{code}}"),
                    stacked=True,
                    about=f"`assay_letters_open`: {_HELP['assay_letters_open']}",
                ),
                _graph(
                    "More than an hour ago",
                    ("assay:letters_open:max - assay:letters_open:max offset 1h > 0", "{{code}}"),
                    bound=1000,
                    about="By how many the open ones have grown, by code.",
                ),
                _graph(
                    "Waiting by destination",
                    ("max by (destination) (assay_letters_waiting)", "{{destination}}"),
                ),
                _graph(
                    "Published by destination",
                    (_rate("assay_letters_published_total", "destination"), "{{destination}}"),
                    unit="cps",
                ),
                _graph(
                    "Tried again",
                    (_rate("assay_letters_retried_total", "result"), "{{result}}"),
                    unit="cps",
                    stacked=True,
                ),
                _graph(
                    "Rejected by pipeline",
                    ('sum by (pipeline) (assay:records:rate5m{door="rejected"})', "{{pipeline}}"),
                    unit="cps",
                    about="Records a second, over five minutes.",
                ),
            ],
        },
        pipelines=False,
    )


def dashboards() -> dict[str, str]:
    """The text of each dashboard, by the name of its file."""
    encoder = JSONEncoder(sort_keys=True, indent=2, ensure_ascii=False)
    made = {
        "pipeline": pipeline(),
        "consumers": consumers(),
        "model": model(),
        "dead-letters": dead_letters(),
    }
    return {f"{name}.json": encoder.encode(board.build()) + "\n" for name, board in made.items()}


def main() -> None:
    """Writes them all."""
    for name, content in dashboards().items():
        (FOLDER / name).write_text(content, "utf-8")


if __name__ == "__main__":
    main()
