"""Kubernetes objects: every pod, whatever is around it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiodocker_lite.errors import InvalidSource
from aiodocker_lite.sources import kubernetes

POD = "containers: [{name: c, image: 'quay.io/a/b:1'}]"
CHART = """\
---
# Source: shop/templates/serviceaccount.yaml
apiVersion: v1
kind: ServiceAccount
metadata:
  name: shop
---
# Source: shop/templates/configmap.yaml
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data:
  sidecar.yaml: |
    containers:
      - image: not/wanted
---
# Source: shop/templates/deployment.yaml
apiVersion: apps/v1
kind: Deployment
metadata:
  name: front
spec:
  template:
    metadata:
      name: ignored-for-it-has-no-kind
    spec:
      initContainers:
        - {name: wait, image: busybox:1.36}
      containers:
        - name: web
          image: "ghcr.io/shop/front:v2"
        - name: proxy
          image: envoyproxy/envoy:v1.31.0
      volumes:
        - {name: tmp, emptyDir: {}}
        - name: model
          image: {reference: "ghcr.io/shop/model:3", pullPolicy: IfNotPresent}
---

---
# Source: shop/templates/job.yaml
apiVersion: batch/v1
kind: CronJob
metadata: {name: clean}
spec:
  jobTemplate:
    spec:
      template:
        spec: {containers: [{name: clean, image: busybox:1.36}]}
"""


def seen(text: str) -> list[tuple[str, str]]:
    found = kubernetes.images(kubernetes.objects(text, "k.yaml"), "k.yaml")
    return [(one.reference.familiar, one.sources[0].removeprefix("k.yaml: ")) for one in found]


def test_a_rendered_chart_has_the_images_of_its_pods() -> None:
    """Comments, empty documents, objects without pods, and texts that only look like one."""
    assert seen(CHART) == [
        ("busybox:1.36", "Deployment front: spec.template.spec.initContainers[0].image"),
        ("ghcr.io/shop/front:v2", "Deployment front: spec.template.spec.containers[0].image"),
        ("envoyproxy/envoy:v1.31.0", "Deployment front: spec.template.spec.containers[1].image"),
        ("ghcr.io/shop/model:3", "Deployment front: spec.template.spec.volumes[1].image.reference"),
        ("busybox:1.36", "CronJob clean: spec.jobTemplate.spec.template.spec.containers[0].image"),
    ]


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("Pod", "spec"),
        *[
            (kind, "spec.template.spec")
            for kind in ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job")
        ],
        ("ReplicationController", "spec.template.spec"),
        ("CronJob", "spec.jobTemplate.spec.template.spec"),
        ("PodTemplate", "template.spec"),
        ("Rollout", "spec.template.spec"),
        ("SparkApplication", "spec.driver.template.spec"),
        ("RayCluster", "spec.headGroupSpec.template.spec"),
    ],
)
def test_a_pod_is_found_in_every_kind(kind: str, path: str) -> None:
    """Also in one that nobody has heard of."""
    keys = path.split(".")
    lines = [f"{'  ' * depth}{key}:" for depth, key in enumerate(keys)]
    text = "\n".join([f"apiVersion: v1\nkind: {kind}\nmetadata: {{name: x}}", *lines, "  " * len(keys) + POD])
    assert seen(text) == [("quay.io/a/b:1", f"{kind} x: {path}.containers[0].image")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("kind: List\nitems:\n- {kind: Pod, metadata: {name: p}, spec: {" + POD + "}}", [("quay.io/a/b:1", "Pod p: spec.containers[0].image")]),
        ("spec: {ephemeralContainers: [{image: a}]}", [("a:latest", "spec.ephemeralContainers[0].image")]),
        ("metadata: {generateName: x-}\nkind: Job\nspec: {" + POD + "}", [("quay.io/a/b:1", "spec.containers[0].image")]),
        ("spec: {containers: [{name: patched}, {image: }, {image: ''}, null, x]}", []),
        ("spec: {containers: {type: array, items: {properties: {image: {type: string}}}}}", []),
        ("spec: {image: not/here, volumes: [{hostPath: {path: /}}, {image: x}]}", []),
        ("x: &x {containers: [{image: a}]}\ny: *x", [("a:latest", "x.containers[0].image"), ("a:latest", "y.containers[0].image")]),
    ],
)  # fmt: skip
def test_what_names_no_image_is_passed_over(text: str, expected: list[tuple[str, str]]) -> None:
    """Patches without an image, schemas of definitions, volumes of other kinds."""
    assert seen(text) == expected


def test_json_is_read_too() -> None:
    """As kubectl -o json prints it, with tabs, and with halves of surrogate pairs as Python writes them."""
    pod = {
        "kind": "Pod",
        "metadata": {"name": "p", "annotations": {"a": "🐳"}},
        "spec": {"containers": [{"image": "a"}], "n": 1.5},
    }
    for text in (json.dumps(pod), json.dumps({"kind": "List", "items": [pod]}, indent="\t")):
        assert seen(text) == [("a:latest", "Pod p: spec.containers[0].image")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind: Pod\nmetadata: {name: p}\nspec: {containers: [{image: 'A b'}]}", "k.yaml: Pod p: spec.containers[0].image: invalid"),
        ("spec: {containers: [{image: '{{ .Values.image }}'}]}", "rendered first"),
        ("spec:\n  image: {{ .Values.image }}", "rendered first"),
        ('{"a":' * 100_000, "nested deeper"),
        ('{"a":' * 300 + "1" + "}" * 300, "nested deeper"),
        ('{"a":', "is no YAML"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_sentence(text: str, message: str) -> None:
    """With the object, the way into it, and what to do about a template."""
    with pytest.raises(InvalidSource) as caught:
        seen(text)
    assert message in str(caught.value)


KEYS = st.sampled_from(
    ["kind", "metadata", "name", "spec", "containers", "volumes", "image", "reference", "x"]
)
OBJECTS = st.recursive(
    st.sampled_from(["a", "b:1", "A", "", None, 1, True]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=30,
)


@given(OBJECTS)
def test_no_object_is_a_traceback(value: object) -> None:
    """Images, or InvalidSource."""
    try:
        seen(json.dumps({"x": value}))
    except InvalidSource as error:
        assert str(error).startswith("k.yaml: ")


def test_a_hostile_object_takes_no_time_for_its_names() -> None:
    """Long keys and names above very many values are not written out for each."""
    deep = "".join(f"{'k' * 900}{n}: {{" for n in range(100))
    text = f"kind: K\nmetadata: {{name: {'n' * 100_000}}}\nspec: {{{deep}x: [{'{a: [b]},' * 20_000}]{'}' * 100}}}"
    assert seen(text) == []
