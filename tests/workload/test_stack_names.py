"""Stacks as people call them."""

from sitecnn.workload.stack_names import full_label, telling_labels


def test_stacks_are_told_apart_in_few_words():
    threads = [f"Caffe, OpenBLAS+{count}-threads" for count in (2, 4, 6)]
    assert list(telling_labels(threads).values()) == ["2 threads", "4 threads", "6 threads"]
    engines = ["caffe-1.0.0+openblas-0.3.21+1-threads+clock-unknown", "onnxruntime-1.20.1+cpu+1-threads+clock-unknown"]
    assert list(telling_labels(engines).values()) == ["Caffe 1.0", "ONNX Runtime 1.20.1"]
    assert telling_labels(["Caffe, OpenBLAS"] * 2) == {"Caffe, OpenBLAS": "Caffe, OpenBLAS"}


def test_stacks_that_people_call_the_same_keep_that_name():
    clocks = ["caffe-1.0+1-threads", "caffe-1.0+1-threads+clock-unknown"]
    assert telling_labels(clocks) == dict.fromkeys(clocks, "Caffe 1.0, 1 thread")


def test_a_full_label_says_engine_and_precision_once():
    assert full_label("tflite-gpu+fp16", "tflite-gpu", "fp16") == "TFLite GPU, fp16"
    assert (
        full_label("caffe-1.0.0+openblas-0.3.21+1-threads", "caffe", "fp32")
        == "Caffe 1.0, OpenBLAS 0.3.21, 1 thread, fp32"
    )
    assert full_label("2017", "caffe", "fp32") == "Caffe, 2017, fp32"
    assert full_label("as fp32 was", "caffe", "fp32") == "Caffe, as fp32 was, fp32"
