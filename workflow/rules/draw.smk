# Draws random SNVs of the reference, for variant sets with `random_snvs` in the place of a file.
rule draw:
    input:
        reference=lookup("{variant_set}", within=inputs.reference),
        regions=lookup("{variant_set}", within=inputs.drawn_regions),
    output:
        variants="<results>/{variant_set}/random_snvs.vcf.gz",
    log:
        "<logs>/draw/{variant_set}.log",
    benchmark:
        "<benchmarks>/draw/{variant_set}.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=jobs.mem_mb,
        runtime=jobs.runtime,
    params:
        config=jobs.config,
        settings=lookup("{variant_set}", within=settings.draw),
    message:
        "Drawing random SNVs: {wildcards.variant_set}"
    shell:
        "printf '%s' {params.config:q} | evo2-tasks draw --config - --log {log:q}"
        " --variant-set {wildcards.variant_set:q} --out {output.variants:q}"
