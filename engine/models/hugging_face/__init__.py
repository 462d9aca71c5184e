"""A base model as Hugging Face's transformers save it (config, safetensors, tokenizer), made a GGUF file without torch.

    config      config.json -> the facts of a llama, or why it cannot be served
    vocabulary  tokenizer.json -> tokens, merges or scores, special tokens
    weights     safetensors -> tensors, by GGUF's names and in its order of rows
    convert     the folder as a whole

Whatever would be lost or guessed is refused with the reason. Sources: transformers' documentation of LlamaConfig and
of tokenizer files; GGUF's specification of keys and names; llama.cpp's loader for what each of them does.
"""
