"""Write `base/tenure.yaml`, what the Helm chart makes of its default values, for those who use kustomize.

Run by `make manifests`; a test holds the file to the chart. Needs helm-python-sdk, which is Helm itself.
"""

from __future__ import annotations

import sys
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

HERE = Path(__file__).resolve().parent
CHART = HERE.parent / "helm" / "tenure"
BASE = HERE / "base" / "tenure.yaml"
# What a kustomization has to replace.
REPO = "https://git.example.com/retention.git"
_HEAD = "# Made from the Helm chart by `make manifests`: change deploy/helm/tenure, not this file.\n"
_ONLY_HELM = ("helm.sh/hook", "helm.sh/hook-delete-policy", "helm.sh/resource-policy")


def render(values: dict[str, Any], **options: Any) -> dict[str, str]:  # noqa: ANN401 - handed on
    """Return what the chart makes of these values, by template; raises HelmError."""
    from helm_python import Chart  # noqa: PLC0415 - a large library that only some machines have

    with Chart.load(CHART) as chart:
        chart.validate_schema(chart.merge_values(values))
        found: dict[str, str] = chart.render(values, name="tenure", namespace="tenure", **options)
        return found


def documents(rendered: dict[str, str]) -> list[dict[str, Any]]:
    """Return the objects, in the order of their kind and name."""
    read = YAML(typ="safe", pure=True)
    found = [one for name, text in rendered.items() if name.endswith(".yaml") for one in read.load_all(text)]
    return sorted((one for one in found if one), key=lambda one: (one["kind"], one["metadata"]["name"]))


def base_text() -> str:
    """Return `base/tenure.yaml` as it should be."""
    made = documents(render({"policies": {"gitSync": {"repo": REPO}}}))
    for one in made:
        about = one["metadata"]
        del about["labels"]["app.kubernetes.io/managed-by"], about["namespace"]
        kept = {name: value for name, value in about.pop("annotations", {}).items() if name not in _ONLY_HELM}
        if kept:
            about["annotations"] = kept
    return _HEAD + _dump(made)


def _dump(made: list[dict[str, Any]]) -> str:
    yaml, text = YAML(typ="safe", pure=True), StringIO()
    yaml.default_flow_style = False
    yaml.width = 110
    yaml.explicit_start = True
    yaml.dump_all(made, text)
    return text.getvalue()


if __name__ == "__main__":
    BASE.write_text(base_text())
    sys.stderr.write(f"wrote {BASE.relative_to(HERE.parents[1])}\n")
