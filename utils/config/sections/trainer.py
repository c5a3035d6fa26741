"""Keys of TRAINER.ViFi_CLIP: prompts, and what of the model trains."""

from __future__ import annotations

from echoviewclip.utils.config.choices import STAGE_OF_USE
from echoviewclip.utils.config.key import Key, NoEffect, Section, at_least
from echoviewclip.utils.config.rules import NO_TEXT, learns_tokens

NO_TOKENS = "no tokens are learned (TRAINER.ViFi_CLIP.PROMPT_MODEL, PROMPT_DEPTH_VISION)"
NO_PROMPTS = NoEffect(lambda c: not learns_tokens(c), NO_TOKENS, "TRAINER.ViFi_CLIP.PROMPT_MODEL is False")

TRAINER = Section(
    "TRAINER.ViFi_CLIP",
    "Prompts, and what of the model trains.",
    (
        Key(
            "TRAINER.ViFi_CLIP.PROMPT_MODEL",
            bool,
            False,
            "Learn prompt tokens in both towers, and nothing else of them.",
        ),
        Key(
            "TRAINER.ViFi_CLIP.N_CTX_VISION",
            int,
            16,
            "Learnable tokens of the image tower.",
            bounds=[at_least(0)],
            no_effect=[
                NoEffect(
                    lambda c: not learns_tokens(c) or c.TRAINER.ViFi_CLIP.PROMPT_DEPTH_VISION == 0,
                    NO_TOKENS,
                    "TRAINER.ViFi_CLIP.PROMPT_MODEL is False or TRAINER.ViFi_CLIP.PROMPT_DEPTH_VISION is 0",
                )
            ],
        ),
        Key(
            "TRAINER.ViFi_CLIP.N_CTX_TEXT",
            int,
            16,
            "Learnable tokens of the text tower.",
            bounds=[at_least(1)],
            no_effect=[NO_PROMPTS, NO_TEXT],
        ),
        Key(
            "TRAINER.ViFi_CLIP.PROMPT_DEPTH_VISION",
            int,
            0,
            "Layers of the image tower that get tokens of their own.",
            bounds=[at_least(0)],
            no_effect=[NO_PROMPTS],
        ),
        Key(
            "TRAINER.ViFi_CLIP.PROMPT_DEPTH_TEXT",
            int,
            1,
            "Layers of the text tower that get tokens of their own.",
            bounds=[at_least(1)],
            no_effect=[NO_PROMPTS, NO_TEXT],
        ),
        Key(
            "TRAINER.ViFi_CLIP.CTX_INIT",
            str,
            "",
            "Words before the name of the view, or a template with `{view}`; empty: those of MODEL.VARIANT.",
            no_effect=[
                NO_TEXT,
                NoEffect(
                    lambda c: c.TRAINER.ViFi_CLIP.ZS_EVAL,
                    "TRAINER.ViFi_CLIP.ZS_EVAL reads the bare names",
                    "TRAINER.ViFi_CLIP.ZS_EVAL is True",
                ),
            ],
        ),
        Key(
            "TRAINER.ViFi_CLIP.CTX_INIT_NO",
            str,
            "",
            "The same for the negative prompts.",
            no_effect=[
                NO_TEXT,
                NoEffect(lambda c: c.STAGE == "view", "stage view reads no negative prompts", "the stage is view"),
            ],
        ),
        Key(
            "TRAINER.ViFi_CLIP.USE",
            str,
            "both",
            "What trains; stage view: both towers, the `image` or the `text` tower; stage negation: `no_text`; stage "
            "quality: `quality`.",
            choices=tuple(STAGE_OF_USE),
        ),
        Key(
            "TRAINER.ViFi_CLIP.ZS_EVAL",
            bool,
            False,
            "Prompts are the bare names of the views, as for CLIP's zero-shot classification.",
            no_effect=[NO_TEXT],
        ),
    ),
)
