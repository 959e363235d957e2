"""Stands for tests/utils/test_configuration_utils.py: base fields, each with another value."""

config_common_kwargs = {
    "return_dict": False,
    "output_hidden_states": True,
    "output_attentions": True,
    "dtype": "float16",
    "chunk_size_feed_forward": 5,
    "is_encoder_decoder": True,
    "architectures": ["HfAttnModel"],
    "id2label": {0: "only"},
    "label2id": {"only": 0},
    "problem_type": "regression",
    "tie_word_embeddings": True,
    "pad_token_id": 7,
}
