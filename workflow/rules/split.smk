# Reads the variants, one row per allele, and cuts them into shards of neighbouring rows.
rule split:
    input:
        variants=local(lookup("{variant_set}", within=inputs.variants)),
        reference=local(lookup("{variant_set}", within=inputs.reference)),
    output:
        # The folder, not the files: Snakemake compares each file of each job with all of a rule's.
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
