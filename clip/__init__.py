"""The pretrained towers of CLIP, from open_clip: load, split, prompt, tokenise. Knows nothing of video."""
