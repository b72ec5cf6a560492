"""What was measured in; tables, figures and sections of the report out."""

from pathlib import Path

from sat_jax import files
from sat_jax.figures import ablation as figures
from sat_jax.figures import ablation_areas
from sat_jax.figures.report import Picture, Section, Table
from sat_jax.records.ablation import Single
from sat_jax.study.ablate import rows
from sat_jax.study.ablate.layers import Probed
from sat_jax.study.ablate.result import (
    PROBE_NAMES,
    AblationResult,
    as_condition,
    conditions_of,
    table_of,
)
from sat_jax.study.ablate.rows import CURVES, keep_curves
from sat_jax.study.ablate.views import (
    LAYERS,
    View,
    area_view,
    condition_views,
    curve_views,
    deep_views,
    found_text,
    layers_text,
    other_views,
    probe_views,
    ranking_views,
    singles_of,
)
from sat_jax.study.page import keep_figure


def write(
    result: AblationResult,
    control: AblationResult,
    deep: AblationResult | None,
    layers: Probed,
    alone: Single | None,
) -> list[Section]:
    """All tables and figures of the study, and what the report says about them.

    `control` is the untrained model under some of the settings, `deep` the trained one with probes
    that have a hidden layer, where these were trained; `alone` what each head alone is worth, where
    that is no part of `result`.
    """
    context = result.context
    loaded, kind = context.loaded, context.loaded.analysis.ablate.kind
    analysis = loaded.out / "analysis"
    anew = table_of(result, "anew", kind)
    written = [path for each in (result, control) for path in write_values(each, analysis)]
    conditions = [table for table in conditions_of(result) if table.tasks]
    conditions.append(as_condition(control, anew))
    more = []
    if deep is not None:
        written += write_values(deep, analysis, "_mlp")
        more = [table_of(deep, probes, kind) for probes in PROBE_NAMES]
    singles = singles_of(result) or [each for each in (alone,) if each is not None]
    keep_curves(analysis / CURVES, anew, result.orders, result.kept.category.shape, singles)
    files.write_table(analysis / "ablation_areas.csv", rows.area_rows([*conditions, *more]))
    curves = [*curve_views(anew), *condition_views(conditions), *deep_views(more)]
    parts = {
        LAYERS: probe_views(layers, analysis),
        "What remains when heads are pruned": curves,
        "Which order is cheapest": [area_view(anew), *ranking_views(result)],
        "One head, or far keys, taken away": other_views(result, singles),
    }
    place = loaded.out / "figures"
    for view in (view for views in parts.values() for view in views):
        keep_figure(loaded, view.stem, view.figure, view.table)
    areas = Table(
        f"Area under every curve, and heads that can be pruned at 1 % relative loss"
        f"{ablation_areas.tested_at(anew)}.",
        analysis / "ablation_areas.csv",
    )
    other_budgets = Table("The same probe with other budgets.", analysis / "probe_budget.csv")
    definitions = {"What remains when heads are pruned": figures.PRUNING}
    texts = {
        "What remains when heads are pruned": found_text(result, anew),
        LAYERS: layers_text(layers),
    }
    tables = {
        "Which order is cheapest": [areas],
        LAYERS: [
            Table("Every representation, task and probe.", analysis / "probes_by_layer.csv"),
            *([other_budgets] if layers.budgets else []),
        ],
    }
    return [
        Section(
            heading,
            texts.get(heading, ""),
            definition=definitions.get(heading, ""),
            pictures=[picture(place, view) for view in views],
            tables=tables.get(heading, []),
            files=[(path.name, path) for path in written] if views is curves else [],
        )
        for heading, views in parts.items()
        if views
    ]


def write_values(result: AblationResult, analysis: Path, more: str = "") -> list[Path]:
    """Every value of a checkpoint as a table and as arrays; their paths."""
    end = result.context.checkpoint.end + more
    paths = [analysis / f"ablation{end}{suffix}" for suffix in (".csv", ".npz")]
    files.write_table(paths[0], rows.value_rows(result.plan, result.scores))
    files.write_arrays(paths[1], **rows.whole_arrays(result.plan, result.arrays))
    return paths


def picture(place: Path, view: View) -> Picture:
    """A view as the report wants it."""
    return Picture(place / f"{view.stem}.png", view.caption, view.alt)
