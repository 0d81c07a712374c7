"""The Kubernetes client for Python against an API server: what a program does that somebody else wrote.

    client.py KUBECONFIG

Prints a line for each thing that holds, and ends with an error at the first that does not.
"""

import sys
import threading

from kubernetes import client, config, watch
from kubernetes.client.rest import ApiException

NAMESPACE = "python"


def refused(code, reason, act, *arguments, **named):
    """Whether an act is refused with this code and reason."""
    try:
        act(*arguments, **named)
    except ApiException as error:
        assert error.status == code and f'"reason":"{reason}"' in error.body.replace(" ", ""), error
        return
    raise AssertionError(f"not refused with {code}")


def config_map(name, **data):
    return client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name, labels={"of": "python"}), data=data)


def main(kubeconfig):
    config.load_kube_config(kubeconfig)
    core, apps = client.CoreV1Api(), client.AppsV1Api()

    core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=NAMESPACE)))
    for nth in range(7):
        core.create_namespaced_config_map(NAMESPACE, config_map(f"c{nth}", a=str(nth)))
    refused(409, "AlreadyExists", core.create_namespaced_config_map, NAMESPACE, config_map("c0"))
    refused(404, "NotFound", core.read_namespaced_config_map, "nobody", NAMESPACE)
    print("created, and refused what was there")

    names, token = [], None
    while True:
        page = core.list_namespaced_config_map(NAMESPACE, limit=3, _continue=token, label_selector="of=python")
        names += [item.metadata.name for item in page.items]
        token = page.metadata._continue
        if not token:
            break
    assert names == [f"c{nth}" for nth in range(7)], names
    print("listed in pages")

    old = core.read_namespaced_config_map("c1", NAMESPACE)
    old.data["a"] = "changed"
    new = core.replace_namespaced_config_map("c1", NAMESPACE, old)
    assert new.data["a"] == "changed" and new.metadata.resource_version != old.metadata.resource_version
    refused(409, "Conflict", core.replace_namespaced_config_map, "c1", NAMESPACE, old)
    patched = core.patch_namespaced_config_map("c1", NAMESPACE, {"data": {"b": "patched"}})
    assert patched.data == {"a": "changed", "b": "patched"}, patched.data
    patched = core.patch_namespaced_config_map("c1", NAMESPACE, [{"op": "remove", "path": "/data/b"}])
    assert patched.data == {"a": "changed"}, patched.data
    print("replaced, refused the older one, patched")

    deployment = {
        "metadata": {"name": "d"},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": "d"}},
            "template": {
                "metadata": {"labels": {"app": "d"}},
                "spec": {"containers": [{"name": "c", "image": "one"}, {"name": "other", "image": "two"}]},
            },
        },
    }
    made = apps.create_namespaced_deployment(NAMESPACE, deployment)
    assert made.spec.strategy.type == "RollingUpdate", made.spec.strategy
    image = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "three"}]}}}}
    made = apps.patch_namespaced_deployment("d", NAMESPACE, image)
    assert [one.image for one in made.spec.template.spec.containers] == ["three", "two"]
    assert apps.patch_namespaced_deployment_scale("d", NAMESPACE, {"spec": {"replicas": 3}}).spec.replicas == 3
    print("a deployment had its defaults, a strategic patch and another scale")

    start = core.list_namespaced_config_map(NAMESPACE).metadata.resource_version
    seen = []

    def follow():
        events = watch.Watch()
        for event in events.stream(
            core.list_namespaced_config_map, NAMESPACE, resource_version=start, timeout_seconds=60
        ):
            seen.append((event["type"], event["object"].metadata.name))
            if event["type"] == "DELETED":
                events.stop()

    following = threading.Thread(target=follow)
    following.start()
    core.create_namespaced_config_map(NAMESPACE, config_map("w", a="1"))
    core.patch_namespaced_config_map("w", NAMESPACE, {"metadata": {"finalizers": ["example.org/wait"]}})
    gone = core.delete_namespaced_config_map("w", NAMESPACE)
    assert gone is not None
    waiting = core.read_namespaced_config_map("w", NAMESPACE)
    assert waiting.metadata.deletion_timestamp and waiting.metadata.finalizers == ["example.org/wait"]
    core.patch_namespaced_config_map("w", NAMESPACE, {"metadata": {"finalizers": None}})
    refused(404, "NotFound", core.read_namespaced_config_map, "w", NAMESPACE)
    following.join(60)
    assert seen == [(kind, "w") for kind in ["ADDED", "MODIFIED", "MODIFIED", "DELETED"]], seen
    print("a watch told of it all, and a finalizer was waited for")

    core.delete_collection_namespaced_config_map(NAMESPACE, label_selector="of=python")
    assert not core.list_namespaced_config_map(NAMESPACE, label_selector="of=python").items
    print("deleted all")


if __name__ == "__main__":
    main(sys.argv[1])
