"""The profile for Kubernetes: real Snakemake and plugin, and a server that notes the requests.

The server stands in for the API of Kubernetes: it accepts each job and reports that it has failed.
The files are in a bucket of moto.
"""

import importlib.util
import json
import threading
from collections import defaultdict
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.clusters.cluster import PROFILES
from tests.workflow.run import SNAKEFILE, run_snakemake
from tests.workflow.test_objects import MISSING, STORED, Bucket, bucket, make_config

__all__ = ["bucket"]  # a fixture

PLUGIN = "snakemake_executor_plugin_kubernetes"
if importlib.util.find_spec(PLUGIN) is None:
    MISSING = [*MISSING, PLUGIN]
SCORINGS = {"cpu": 0, "one": 1, "two": 2}

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),
]


class Api(BaseHTTPRequestHandler):
    """Accepts all jobs; each has failed."""

    jobs: list[dict[str, Any]]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path.endswith("/jobs"):
            self.jobs.append(body)
        self._answer(body)

    def do_DELETE(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._answer({"kind": "Status", "status": "Success"})

    def do_GET(self) -> None:
        if self.path.endswith("/status"):
            self._answer({"kind": "Job", "status": {"failed": 1}})
        else:
            self._answer({"kind": "PodList", "items": []})

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the library
        """Print nothing."""

    def _answer(self, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def api(tmp_path: Path) -> Iterator[tuple[Path, list[dict[str, Any]]]]:
    """A home folder with the file that names the server, and the jobs that it was given."""
    jobs: list[dict[str, Any]] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Noted", (Api,), {"jobs": jobs}))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    names = {"cluster": "c", "user": "u"}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "x",
        "contexts": [{"name": "x", "context": names}],
        "clusters": [{"name": "c", "cluster": {"server": url}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }
    # Not by KUBECONFIG, which the library reads when it is imported.
    home = tmp_path / "home"
    (home / ".kube").mkdir(parents=True)
    (home / ".kube" / "config").write_text(yaml.safe_dump(config))
    yield home, jobs
    server.shutdown()
    thread.join()
    server.server_close()


def test_pods_ask_for_what_they_need_and_for_more_when_they_fail(
    tmp_path: Path, bucket: Bucket, api: tuple[Path, list[dict[str, Any]]]
) -> None:
    config = make_config("s3://lab/data")
    config["models"] = {
        name: {"checkpoint": "s3://lab/data/mini", "gpus": gpus} for name, gpus in SCORINGS.items()
    }
    config["scorings"] = {name: {"model": name, "window_length": 64} for name in SCORINGS}
    for variant_set in config["variant_sets"].values():
        variant_set["scorings"] = [*SCORINGS]
    config["variant_sets"]["w"] = config["variant_sets"]["v"]
    del config["variant_sets"]["r"]
    folder = tmp_path / "p"
    folder.mkdir()
    (folder / "config.yaml").write_text(json.dumps(config))
    home, jobs = api
    common = ("--snakefile", str(SNAKEFILE), *STORED)
    scores = [f"results/v/{name}/scores/1-of-1.parquet" for name in SCORINGS]
    variables = {**bucket.variables, "HOME": str(home)}
    run_snakemake(
        folder, *scores, "--until", "windows", "--cores", "1", *common, variables=variables
    )
    run_snakemake(
        folder,
        *(*scores, "results/w/shards", "--profile", str(PROFILES / "kubernetes"), *common),
        *("--seconds-between-status-checks", "1"),
        variables=variables,
        status=1,
    )
    asked = defaultdict(list)
    for job in jobs:
        pod = job["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        limits = container["resources"]["limits"]
        requests = container["resources"]["requests"]
        assert {name: requests[name] for name in limits if name != "cpu"} == {
            name: limit for name, limit in limits.items() if name != "cpu"
        }
        command = container["args"][1]
        name = next((name for name in SCORINGS if f"scoring={name}" in command), "split")
        gpus = int(limits.get("nvidia.com/gpu", 0))
        assert bool(pod.get("tolerations")) == bool(gpus)
        asked[name].append((gpus, int(limits["memory"].removesuffix("M"))))
    assert asked["split"] == [(0, 2_000), (0, 4_000), (0, 6_000)]
    for name, gpus in SCORINGS.items():
        (_, first) = asked[name][0]
        assert asked[name] == [(gpus, first), (gpus, 2 * first), (gpus, 3 * first)]
