# Writes the table in another format: one job for each format that a variant set lists in `exports`.
rule export:
    input:
        table="<results>/{variant_set}/{scoring}/scores.parquet",
        # The command reads here which file of variants the table was made from.
        run="<results>/{variant_set}/{scoring}/run.json",
        # Next to the table, where the command finds it.
        calibrated=collect(
            "<results>/{file}",
            file=lookup(
                "{variant_set}/{scoring}", within=inputs.calibrations.calibrated
            ),
        ),
        variants=lookup("{variant_set}", within=inputs.variants),
        drawn=collect(
            "<results>/{file}", file=lookup("{variant_set}", within=inputs.drawn)
        ),
    output:
        table="<results>/{variant_set}/{scoring}/{export}",
    log:
        "<logs>/export/{variant_set}/{scoring}/{export}.log",
    benchmark:
        "<benchmarks>/export/{variant_set}/{scoring}/{export}.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=jobs.mem_mb,
        runtime=jobs.runtime,
    params:
        format=lookup("{export}", within=formats),
    message:
        "Exporting as {params.format}: {wildcards.variant_set}, {wildcards.scoring}"
    shell:
        "evo2-tasks export --log {log:q} --to {params.format:q}"
        " --out {output.table:q} -- {input.table:q}"
