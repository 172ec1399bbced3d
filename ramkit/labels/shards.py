"""Labels in webdataset shards: a list of names in the `.json` beside each photo."""

import json
from collections.abc import Iterator
from pathlib import Path

from ramkit.errors import InputError
from ramkit.labels.labelled import LabelColumns, LabelledPhoto, LabelledSet, of_photos
from ramkit.labels.rows import names_in
from ramkit.photos import SUFFIXES
from ramkit.references import MEMBER, read_member, shard_index


def read_shard(shard: str, columns: LabelColumns) -> LabelledSet:
    return of_photos(_photos(shard, columns))


def _photos(shard: str, columns: LabelColumns) -> Iterator[LabelledPhoto]:
    index = shard_index(shard)
    for name in index:
        stem, _, _ = name.rpartition(".")
        if Path(name).suffix.lower() in SUFFIXES and f"{stem}.json" in index:
            where = f"{shard}{MEMBER}{stem}.json"
            try:
                row = json.loads(read_member(shard, f"{stem}.json"))
            except ValueError as error:
                raise InputError(f"{where}: not JSON ({error}).", cure="Mend it.") from None
            yield LabelledPhoto(f"{shard}{MEMBER}{name}", names_in(row, columns, where))
