"""Classifies texts and says what each word adds, with onnxruntime and tokenizers alone.

python classify_with_onnx.py FOLDER "oil prices rose"     # or a text a line on standard input
"""

import json
import sys
from itertools import groupby

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

folder, *texts = sys.argv[1:] or sys.exit(__doc__)
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1  # starts faster, and more threads pay for long texts only
session = onnxruntime.InferenceSession(f"{folder}/model.onnx", options)
about = session.get_modelmeta().custom_metadata_map
names, task = json.loads(about["class_names"]), about["problem_type"]
tokenizer = Tokenizer.from_file(f"{folder}/tokenizer.json")
for text in texts or (line.rstrip("\r\n") for line in sys.stdin):
    tokens = tokenizer.encode(text)
    inputs = {"input_ids": [tokens.ids], "attention_mask": [tokens.attention_mask]}
    (logits,), (contributions,), bias = session.run(None, inputs)
    best, odds = logits.argmax(), np.exp(logits - logits.max(), dtype=np.float64)
    score, explained = logits[best], np.eye(len(names))[best]
    if task == "single_label_classification":
        score, odds[best] = odds[best] / odds.sum(), 0
        explained -= odds / odds.sum()  # the class against the others, each by its probability
    elif task != "regression":
        score = 1 / (1 + np.exp(-score))
    added, words = contributions @ explained, []
    for _, same_word in groupby(range(len(tokens)), tokens.word_ids.__getitem__):
        places = list(same_word)
        span = slice(tokens.offsets[places[0]][0], tokens.offsets[places[-1]][1])
        word = text[span].strip() or tokens.tokens[places[0]]
        words.append([word, round(added[places].sum(), 4)])
    bias = round(bias @ explained, 4)  # with the words it sums to the logit that is explained
    answer = {"label": names[best], "score": round(float(score), 4), "bias": bias, "words": words}
    sys.stdout.write(json.dumps(answer, ensure_ascii=False) + "\n")
