"""The server of the vLLM back end: `python -m septet.empg.vllm_server`, in vLLM's own environment.

It reads lines of JSON (`load`, `weights`, or a request for completions) and answers each with one line. It imports
nothing of the trainer but the standard library's company, for vLLM's environment has none of it.
"""

import json
import os
import sys
from typing import Any


def main() -> None:
    """Answer until standard input ends."""
    # the engine in this process takes weights without pickled functions
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    from vllm import LLM, SamplingParams
    from vllm.inputs import TokensPrompt

    engine: Any = None
    for line in sys.stdin:
        message = json.loads(line)
        answer: dict[str, Any] = {}
        if "load" in message:
            engine = LLM(
                model=message["load"],
                revision=message["revision"],
                dtype=message["dtype"],
                enable_prefix_caching=True,
                skip_tokenizer_init=True,
                gpu_memory_utilization=message["memory"],
                logprobs_mode="processed_logprobs",  # at the temperature of the sampling, as the trainer's
            )
        elif "weights" in message:
            engine.apply_model(_loader(message["weights"]))
            engine.reset_prefix_cache()
        else:
            wanted = [
                SamplingParams(
                    n=message["samples"],
                    max_tokens=message["limit"],
                    temperature=message["temperature"],
                    seed=None if message["seed"] is None else message["seed"] + number,
                    stop_token_ids=message["stop"],
                    logprobs=0,
                    detokenize=False,
                )
                for number in range(len(message["prompts"]))
            ]
            prompts = [TokensPrompt(prompt_token_ids=prompt) for prompt in message["prompts"]]
            outputs = [one for reply in engine.generate(prompts, wanted, use_tqdm=False) for one in reply.outputs]
            answer = {
                "tokens": [list(one.token_ids) for one in outputs],
                "log_pi": [
                    [step[token].logprob for step, token in zip(one.logprobs, one.token_ids, strict=True)]
                    for one in outputs
                ],
            }
        print(json.dumps({"empg": answer}), flush=True)


def _loader(file: str) -> Any:
    def load(model: Any) -> None:
        from safetensors.torch import load_file

        model.load_weights(load_file(file).items())

    return load


if __name__ == "__main__":
    main()
