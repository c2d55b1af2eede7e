# Takes the place of the rule score for scorings with read-outs: an audit, embeddings, profiles. One job
# makes the scores and the read-outs, so that the model is loaded once.
rule score_readouts:
    input:
        windows="<results>/{variant_set}/{scoring}/windows/{scatteritem}.parquet",
        segments="<results>/{variant_set}/{scoring}/windows/{scatteritem}.segments.parquet",
        checkpoint=lookup("{scoring}", within=inputs.checkpoint),
        fetched=collect(
            "<results>/{file}", file=lookup("{scoring}", within=inputs.hub_files)
        ),
        # Next to the folder of the scores, where the command finds them; only with a store. The
        # first ones decide whether the job needs a GPU.
        hits=collect("<results>/{file}", file=jobs.hits),
        compared_hits=collect("<results>/{file}", file=jobs.compared_hits),
        audited=collect(
            "<results>/{file}",
            file=lookup("{variant_set}/{scoring}", within=inputs.audited),
        ),
    output:
        # Finished scores stay where they are, so that a read-out can be added to a finished run. The
        # command replaces those that do not belong to its inputs and settings.
        scores=update("<results>/{variant_set}/{scoring}/scores/{scatteritem}.parquet"),
        run=update("<results>/{variant_set}/{scoring}/scores/{scatteritem}.json"),
        readouts=directory("<results>/{variant_set}/{scoring}/readouts/{scatteritem}"),
    log:
        "<logs>/score_readouts/{variant_set}/{scoring}/{scatteritem}.log",
    benchmark:
        "<benchmarks>/score_readouts/{variant_set}/{scoring}/{scatteritem}.tsv"
    wildcard_constraints:
        variant_set=jobs.made_by.score_readouts,
    conda:
        "../../envs/gpu.yaml"
    threads: 1
    resources:
        gpu=jobs.gpu,
        mem_mb=jobs.score_mem_mb,
        runtime=jobs.score_runtime,
    params:
        config=jobs.config,
        settings=jobs.readouts,
    message:
        "Scoring with read-outs: {wildcards.variant_set}, {wildcards.scoring}, {wildcards.scatteritem}"
    shell:
        "printf '%s' {params.config:q} | evo2-tasks score-readouts --config - --log {log:q}"
        " --scoring {wildcards.scoring:q} --threads {threads}"
        " --windows {input.windows:q} --segments {input.segments:q} --out {output.scores:q}"
        " --readouts {output.readouts:q} {input.audited:q}"
