"""Dividing the alleles of the input into shards."""

from collections.abc import Iterable, Iterator

from evo2_tasks.genome.records import Variant


def assign_shards(
    variants: Iterable[Variant], num_alleles: int, num_shards: int
) -> Iterator[tuple[int, Variant]]:
    """Assign each allele to a shard. Shards have nearly equal sizes; a site is never split.

    Args:
        variants: The alleles in input order.
        num_alleles: Number of alleles.
        num_shards: Number of shards.

    Yields:
        The number of the shard, from 1, and the allele.
    """
    shard, site = 1, None
    for num_read, variant in enumerate(variants):
        if (variant.record, variant.pos) != site:
            while shard < num_shards and num_read >= shard * num_alleles // num_shards:
                shard += 1
        site = (variant.record, variant.pos)
        yield shard, variant
