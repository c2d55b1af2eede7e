# Reads the variants, one row per allele, and splits them into shards of consecutive rows.
rule split:
    input:
        variants=lookup("{variant_set}", within=inputs.variants),
        drawn=collect(
            "<results>/{file}", file=lookup("{variant_set}", within=inputs.drawn)
        ),
        reference=lookup("{variant_set}", within=inputs.reference),
        genotypes=lookup("{variant_set}", within=inputs.genotypes),
    output:
        # The folder, not its files: Snakemake compares each output file of a job with all output
        # files of its rule, which is slow for many shards.
        shards=directory("<results>/{variant_set}/shards"),
    log:
        "<logs>/split/{variant_set}.log",
    benchmark:
        "<benchmarks>/split/{variant_set}.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=jobs.mem_mb,
        runtime=jobs.runtime,
    params:
        config=jobs.config,
        settings=lookup("{variant_set}", within=settings.split),
    message:
        "Splitting the variants of {wildcards.variant_set}"
    shell:
        "printf '%s' {params.config:q} | evo2-tasks split --config - --log {log:q}"
        " --variant-set {wildcards.variant_set:q} --out {output.shards:q}"
