# Finds which samples have each allele, and beside which other alleles of a haplotype, and places the
# windows of each distinct allele with its neighbours. It reads the genotypes of the whole set, because
# a neighbour may be in another shard. Only variant sets with `haplotypes` need these three rules.
rule haplotypes:
    input:
        windows=gather.shard(
            "<results>/{{variant_set}}/{{scoring}}/windows/{scatteritem}.parquet"
        ),
        shards="<results>/{variant_set}/shards",
        variants=lookup("{variant_set}", within=inputs.variants),
        reference=lookup("{variant_set}", within=inputs.reference),
        codons=lookup("{variant_set}", within=inputs.codons),
    output:
        # A folder, as for `split`.
        pairs=directory("<results>/{variant_set}/{scoring}/haplotypes"),
    log:
        "<logs>/haplotypes/{variant_set}/{scoring}.log",
    benchmark:
        "<benchmarks>/haplotypes/{variant_set}/{scoring}.tsv"
    # Before scoring, because it finds a file without genotypes, or without one of the samples.
    priority: 1
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=jobs.mem_mb,
        runtime=jobs.runtime,
    params:
        config=jobs.config,
        settings=lookup("{variant_set}/{scoring}", within=settings.haplotypes),
        folder=subpath(output.pairs, parent=True),
    message:
        "Finding haplotypes: {wildcards.variant_set}, {wildcards.scoring}"
    shell:
        "printf '%s' {params.config:q} | evo2-tasks haplotypes --config - --log {log:q}"
        " --variant-set {wildcards.variant_set:q} --scoring {wildcards.scoring:q}"
        " --split {input.shards:q}/split.json"
        # The folder, not its files: a command line cannot hold the paths of a thousand shards.
        " --windows {params.folder:q}/windows --out {output.pairs:q}"
