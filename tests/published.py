"""The published configuration files, word for word, and the published defaults."""

from __future__ import annotations

PUBLISHED = {  # key: default
    "DATA.ROOT": "",
    "DATA.TRAIN_FILE": "",
    "DATA.VAL_FILE": "",
    "DATA.DATASET": "ultracls",
    "DATA.INPUT_SIZE": 224,
    "DATA.NUM_FRAMES": 16,
    "DATA.NUM_CLASSES": 0,  # as many as LABEL_LIST names: the 38 that were the default
    "DATA.NUM_QUALITIES": 0,
    "DATA.LABEL_LIST": "labels/ultracls.csv",
    "MODEL.ARCH": "ViT-B/16",
    "MODEL.DROP_PATH_RATE": 0.0,
    "MODEL.PRETRAINED": "",
    "MODEL.RESUME": "",
    "MODEL.FIX_TEXT": False,
    "TRAINER.ViFi_CLIP.PROMPT_MODEL": False,
    "TRAINER.ViFi_CLIP.N_CTX_VISION": 16,
    "TRAINER.ViFi_CLIP.N_CTX_TEXT": 16,
    "TRAINER.ViFi_CLIP.CTX_INIT": "",
    "TRAINER.ViFi_CLIP.CTX_INIT_NO": "",
    "TRAINER.ViFi_CLIP.PROMPT_DEPTH_VISION": 0,
    "TRAINER.ViFi_CLIP.PROMPT_DEPTH_TEXT": 1,
    "TRAINER.ViFi_CLIP.USE": "both",
    "TRAINER.ViFi_CLIP.ZS_EVAL": False,
    "TRAIN.EPOCHS": 30,
    "TRAIN.WARMUP_EPOCHS": 5.0,
    "TRAIN.WEIGHT_DECAY": 0.001,
    "TRAIN.LR": 8e-6,
    "TRAIN.BATCH_SIZE": 8,
    "TRAIN.ACCUMULATION_STEPS": 1,
    "TRAIN.LR_SCHEDULER": "cosine",
    "TRAIN.OPTIMIZER": "adamw",
    "TRAIN.OPT_LEVEL": "O1",
    "TRAIN.AUTO_RESUME": False,
    "TRAIN.USE_CHECKPOINT": False,
    "TRAIN.CLIP_GRAD": 0.0,
    "TRAIN.EMA_DECAY": 0.0,
    "AUG.LABEL_SMOOTH": 0.1,
    "AUG.COLOR_JITTER": 0.0,
    "AUG.GRAY_SCALE": 0.0,
    "AUG.MIXUP": 0.8,
    "AUG.CUTMIX": 1.0,
    "AUG.MIXUP_SWITCH_PROB": 0.5,
    "TEST.NUM_CLIP": 1,
    "TEST.NUM_CROP": 1,
    "TEST.ONLY_TEST": False,
    "TEST.MULTI_VIEW_INFERENCE": False,
    "OUTPUT": "output",
    "SAVE_FREQ": 1,
    "PRINT_FREQ": 50,
    "SEED": 1024,
}

PUBLISHED_STAGE1 = """
DATA:
  ROOT: 'datasets_splits/ultracls/'
  TRAIN_FILE: 'datasets_splits/ultracls/train.txt'
  VAL_FILE: 'datasets_splits/ultracls/val.txt'
  DATASET: ultracls
  NUM_FRAMES: 16
  NUM_CLASSES: 38
  LABEL_LIST: 'labels/ultracls.csv'
MODEL:
  ARCH: 'ViT-B/16'
TRAIN:
  BATCH_SIZE: 4
  ACCUMULATION_STEPS: 16
  LR: 2.2e-05
TEST:
  MULTI_VIEW_INFERENCE: False
TRAINER:
  ViFi_CLIP:
    ZS_EVAL: False
    USE: "both"
"""


PUBLISHED_STAGE2 = (
    PUBLISHED_STAGE1.replace('"both"', '"no_text"')
    .replace("MODEL:\n", "MODEL:\n  RESUME: output/train_stage1/ckpt_epoch_29.pth\n")
    .replace("TRAIN:\n", "TRAIN:\n  EPOCHS: 30\n")
)


PUBLISHED_QUALITY = """
DATA:
  ROOT: 'datasets_splits/ultraqc/'
  TRAIN_FILE: 'datasets_splits/ultraqc/train.txt'
  VAL_FILE: 'datasets_splits/ultraqc/val.txt'
  DATASET: ultraqc
  NUM_FRAMES: 16
  NUM_CLASSES: 3
  NUM_QUALITIES: 38
  LABEL_LIST: 'labels/quality.csv'
MODEL:
  ARCH: 'ViT-B/16'
  RESUME: output/train_stage2/ckpt_epoch_29.pth
TRAIN:
  BATCH_SIZE: 4
  ACCUMULATION_STEPS: 16
  LR: 1e-05
TEST:
  MULTI_VIEW_INFERENCE: False
TRAINER:
  ViFi_CLIP:
    ZS_EVAL: False
    USE: "quality"
"""
