"""What real Caffe makes of prototxts: run by pycaffe's own interpreter, one JSON document a line in and out.

In: a JSON string, a network's definition. Out: `{"layers": [...], "parameters": int, "data_bytes": int}` as Caffe
set it up in its TEST phase, or `{"refused": text}` with what Caffe said. Caffe ends its process over a bad
definition, so each one is set up in a child of its own.
"""

import json
import os
import sys
import tempfile


def set_up(text):
    """Layers with their names, types, blob names, shapes and parameter shapes; distinct parameter values; bytes."""
    import caffe

    with tempfile.NamedTemporaryFile("w", suffix=".prototxt", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        net = caffe.Net(file.name, caffe.TEST)
    names = list(net._blob_names)
    shapes = [list(blob.shape) for blob in net._blobs]
    layers = [
        {
            "name": name,
            "type": layer.type,
            "bottoms": [names[blob] for blob in net._bottom_ids(index)],
            "tops": [names[blob] for blob in net._top_ids(index)],
            "outputs": [shapes[blob] for blob in net._top_ids(index)],
            "parameters": [list(blob.shape) for blob in layer.blobs],
        }
        for index, (name, layer) in enumerate(zip(net._layer_names, net.layers, strict=True))
    ]
    own = {blob.data.ctypes.data: blob.count for layer in net.layers for blob in layer.blobs}
    tops = [blob for index in range(len(layers)) for blob in net._top_ids(index)]
    data_bytes = 4 * sum(net._blobs[blob].count for blob in tops)
    return {"layers": layers, "parameters": sum(own.values()), "data_bytes": data_bytes}


def in_child(text):
    """The answer of `set_up`, or what the child said before it died."""
    with tempfile.TemporaryFile("w+") as answer, tempfile.TemporaryFile("w+") as said:
        child = os.fork()
        if child == 0:
            os.dup2(said.fileno(), 2)
            json.dump(set_up(text), answer)
            answer.flush()
            os._exit(0)
        _, status = os.waitpid(child, 0)
        answer.seek(0)
        said.seek(0)
        return json.load(answer) if status == 0 else {"refused": said.read()[-2000:]}


if __name__ == "__main__":
    os.environ["GLOG_minloglevel"] = "2"  # noqa: SIM112
    import caffe  # noqa: F401  (once, for all children)

    for line in sys.stdin:
        print(json.dumps(in_child(json.loads(line))), flush=True)
