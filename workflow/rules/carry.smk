# Copies fields or columns of the variants to a table of their own. It reads the input again, so that
# other fields can be carried without scoring anything again. Only variant sets that carry something
# need it.
rule carry:
    input:
        variants=lookup("{variant_set}", within=inputs.variants),
        drawn=collect(
            "<results>/{file}", file=lookup("{variant_set}", within=inputs.drawn)
        ),
        reference=lookup("{variant_set}", within=inputs.reference),
        genotypes=lookup("{variant_set}", within=inputs.genotypes),
    output:
        table="<results>/{variant_set}/carried.parquet",
    log:
        "<logs>/carry/{variant_set}.log",
    benchmark:
        "<benchmarks>/carry/{variant_set}.tsv"
    # Before scoring, because it finds a wrong name in the config.
    priority: 1
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=jobs.mem_mb,
        runtime=jobs.runtime,
    params:
        config=jobs.config,
        settings=lookup("{variant_set}", within=settings.carry),
    message:
        "Carrying columns of {wildcards.variant_set}"
    shell:
        "printf '%s' {params.config:q} | evo2-tasks carry --config - --log {log:q}"
        " --variant-set {wildcards.variant_set:q} --out {output.table:q}"
