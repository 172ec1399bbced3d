"""Photos whose labels are known, from whatever holds them; a reader a file.

| source                                 | labels                                             | names looked for     |
|----------------------------------------|----------------------------------------------------|----------------------|
| `shard.tar`                            | list under a key of each sample's `.json`          | those that occur     |
| `.jsonl`                               | list under a key                                   | those that occur     |
| `.csv` `.tsv`                          | a column of names, or a column of 0 and 1 a name   | occurring; columns   |
| `.json`                                | objects as in COCO's `instances_*.json`            | all categories       |
| folder with `ImageSets`, `Annotations` | Pascal VOC                                         | all classes          |
| folder of folders                      | the folder a photo lies in                         | the folders          |
| `.parquet`, folder or id of `datasets` | classes, texts, or lists of them                   | classes, if told     |
| published benchmark                    | RAM++'s annotation files: names or class numbers   | all of the tag list  |
"""

from ramkit.labels.labelled import LabelColumns, LabelledPhoto, LabelledSet
from ramkit.labels.sources import read_labels

__all__ = ["LabelColumns", "LabelledPhoto", "LabelledSet", "read_labels"]
