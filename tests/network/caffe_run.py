"""What real Caffe computes: run by pycaffe's own interpreter, one JSON document a line in and out.

In: `{"definition": text, "file": path}`. Out: true once the file holds, as NumPy arrays, the learnable blobs that the
net was given (`param/LAYER/INDEX`) and all of its blobs after a forward pass on random inputs (`blob/NAME`), or what
Caffe said when it refused.
"""

import json
import os
import sys
import tempfile


def run(definition, path):
    """Random weights and inputs, one forward pass."""
    import caffe
    import numpy

    random = numpy.random.default_rng(1)
    with tempfile.NamedTemporaryFile("w", suffix=".prototxt", encoding="utf-8") as file:
        file.write(definition)
        file.flush()
        net = caffe.Net(file.name, caffe.TEST)
    results = {}
    for layer in net.layers:
        for blob in layer.blobs:
            values = random.uniform(0.5, 1.5, blob.data.shape) * random.choice([-1, 1], blob.data.shape)
            if layer.type == "BatchNorm":
                values = abs(values)
            elif blob.data.ndim > 1:
                values *= blob.data[0].size ** -0.5
            blob.data[...] = values
    for name, layer in zip(net._layer_names, net.layers, strict=True):
        results.update({f"param/{name}/{index}": blob.data.copy() for index, blob in enumerate(layer.blobs)})
    for index, layer in enumerate(net.layers):
        if not len(net._bottom_ids(index)) and layer.type != "Parameter":
            for top in net._top_ids(index):
                blob = net._blobs[top].data
                blob[...] = random.standard_normal(blob.shape)
                results[f"input/{net._blob_names[top]}"] = blob.copy()
    net.forward()
    results.update({f"blob/{name}": blob.data.copy() for name, blob in net.blobs.items()})
    numpy.savez(path, **results)


def in_child(definition, path):
    """True, or what the child said before it died."""
    with tempfile.TemporaryFile("w+") as said:
        child = os.fork()
        if child == 0:
            os.dup2(said.fileno(), 2)
            run(definition, path)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        said.seek(0)
        return status == 0 or said.read()[-2000:]


if __name__ == "__main__":
    os.environ["GLOG_minloglevel"] = "2"  # noqa: SIM112
    import caffe  # noqa: F401  (once, for all children)

    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(in_child(request["definition"], request["file"])), flush=True)
