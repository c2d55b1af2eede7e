"""Shards: which alleles belong to which one."""

from collections.abc import Iterable, Iterator

from evo2_tasks.genome.variants import Variant


def assign_shards(
    variants: Iterable[Variant], num_alleles: int, num_shards: int
) -> Iterator[tuple[int, Variant]]:
    """Give each allele its shard, from 1, of nearly equal size; those of a site stay together."""
    shard, site = 1, None
    for num_read, variant in enumerate(variants):
        if (variant.record, variant.pos) != site:
            while shard < num_shards and num_read >= shard * num_alleles // num_shards:
                shard += 1
        site = (variant.record, variant.pos)
        yield shard, variant
