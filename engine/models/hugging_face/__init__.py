"""A base model as Hugging Face's transformers save it (config, safetensors, tokenizer), made a GGUF file without torch.

    config      config.json -> the facts of a decoder, or why it cannot be served (`rope`: its positions)
    vocabulary  tokenizer.json -> tokens, merges or scores, special tokens
    naming      the name, by which llama.cpp tells what special tokens do to spaces
    weights     safetensors -> tensors, by GGUF's names and in its order of rows
    convert     the folder as a whole

Whatever would be lost or guessed is refused with the reason. Sources: transformers' documentation of LlamaConfig and
of tokenizer files; GGUF's specification of keys and names; llama.cpp's loader for what each of them does.
"""
