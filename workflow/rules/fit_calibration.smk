# Makes a calibration of a scoring: the sorted scores of a background, and the likelihood ratios and
# thresholds that labelled variants give. It reads tables from `merge` only, so that a calibration never
# depends on a calibrated column.
rule fit_calibration:
    input:
        background=collect(
            "<results>/{file}",
            file=lookup(
                "{calibration}/{scoring}", within=inputs.calibrations.background
            ),
        ),
        background_file=lookup(
            "{calibration}/{scoring}", within=inputs.calibrations.background_file
        ),
        labelled=collect(
            "<results>/{file}",
            file=lookup(
                "{calibration}/{scoring}", within=inputs.calibrations.labelled
            ),
        ),
        reference=lookup("{calibration}", within=inputs.calibrations.bases),
    output:
        calibration="<results>/calibrations/{calibration}/{scoring}/calibration.parquet",
        background="<results>/calibrations/{calibration}/{scoring}/background.parquet",
        ratios="<results>/calibrations/{calibration}/{scoring}/ratios.parquet",
        folds="<results>/calibrations/{calibration}/{scoring}/folds.parquet",
    log:
        "<logs>/fit_calibration/{calibration}/{scoring}.log",
    benchmark:
        "<benchmarks>/fit_calibration/{calibration}/{scoring}.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=jobs.mem_mb,
        runtime=jobs.fit_runtime,
    params:
        config=jobs.config,
        settings=lookup("{calibration}", within=settings.fit_calibration),
        folder=subpath(output.calibration, parent=True),
        background=branch(
            lookup("{calibration}", within=inputs.calibrations.with_background),
            then="--background",
            otherwise="",
        ),
        labelled=branch(
            lookup("{calibration}", within=inputs.calibrations.with_labels),
            then="--labelled",
            otherwise="",
        ),
    message:
        "Fitting the calibration {wildcards.calibration}: {wildcards.scoring}"
    shell:
        "printf '%s' {params.config:q} | evo2-tasks fit-calibration --config - --log {log:q}"
        " --calibration {wildcards.calibration:q} --scoring {wildcards.scoring:q}"
        " {params.background} {input.background:q} {input.background_file:q}"
        " {params.labelled} {input.labelled:q} --out {params.folder:q}"
