# Compares each row of a table with the calibrations that its variant set names. The table stays as it
# is: the columns go to a file next to it. Only variant sets with `calibrations` need it.
rule calibrate:
    input:
        table="<results>/{variant_set}/{scoring}/scores.parquet",
        # In the folder of the calibrations, where the command finds them.
        calibrations=collect(
            "<results>/{file}",
            file=lookup("{variant_set}/{scoring}", within=inputs.calibrations.used),
        ),
        calibration_files=lookup(
            "{variant_set}/{scoring}", within=inputs.calibrations.used_files
        ),
        reference=lookup("{variant_set}", within=inputs.reference),
    output:
        table="<results>/{variant_set}/{scoring}/calibrated.parquet",
    log:
        "<logs>/calibrate/{variant_set}/{scoring}.log",
    benchmark:
        "<benchmarks>/calibrate/{variant_set}/{scoring}.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=jobs.mem_mb,
        runtime=jobs.runtime,
    params:
        config=jobs.config,
        settings=lookup("{variant_set}/{scoring}", within=settings.calibrate),
        results=subpath(input.table, ancestor=3),
    message:
        "Calibrating: {wildcards.variant_set}, {wildcards.scoring}"
    shell:
        "printf '%s' {params.config:q} | evo2-tasks calibrate --config - --log {log:q}"
        " --variant-set {wildcards.variant_set:q} --scoring {wildcards.scoring:q}"
        " --table {input.table:q} --calibrations {params.results:q}/calibrations"
        " --out {output.table:q}"
