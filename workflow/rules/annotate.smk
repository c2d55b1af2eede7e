# Gives each allele its gene and its consequence, from the genes of the reference or from a field of the
# input, and its identifiers. It reads the input again, so that another GFF scores nothing again. Only
# variant sets that ask for one of these columns need it.
rule annotate:
    input:
        variants=lookup("{variant_set}", within=inputs.variants),
        drawn=collect(
            "<results>/{file}", file=lookup("{variant_set}", within=inputs.drawn)
        ),
        reference=lookup("{variant_set}", within=inputs.reference),
        genotypes=lookup("{variant_set}", within=inputs.genotypes),
        gff=lookup("{variant_set}", within=inputs.gff),
    output:
        table="<results>/{variant_set}/annotations.parquet",
    log:
        "<logs>/annotate/{variant_set}.log",
    benchmark:
        "<benchmarks>/annotate/{variant_set}.tsv"
    # Before scoring, because it finds a wrong file or field.
    priority: 1
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=jobs.mem_mb,
        runtime=jobs.runtime,
    params:
        config=jobs.config,
        settings=lookup("{variant_set}", within=settings.annotate),
    message:
        "Annotating {wildcards.variant_set}"
    shell:
        "printf '%s' {params.config:q} | evo2-tasks annotate --config - --log {log:q}"
        " --variant-set {wildcards.variant_set:q} --out {output.table:q}"
