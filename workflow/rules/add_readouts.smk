# Makes embeddings and profiles of a shard whose scores the rule score has finished. The scores stay as they
# are. The command is that of the rule score_readouts.
rule add_readouts:
    input:
        windows="<results>/{variant_set}/{scoring}/windows/{scatteritem}.parquet",
        segments="<results>/{variant_set}/{scoring}/windows/{scatteritem}.segments.parquet",
        scores="<results>/{variant_set}/{scoring}/scores/{scatteritem}.parquet",
        run="<results>/{variant_set}/{scoring}/scores/{scatteritem}.json",
        checkpoint=lookup("{scoring}", within=inputs.checkpoint),
        fetched=collect(
            "<results>/{file}", file=lookup("{scoring}", within=inputs.hub_files)
        ),
    output:
        readouts=directory("<results>/{variant_set}/{scoring}/readouts/{scatteritem}"),
    log:
        "<logs>/add_readouts/{variant_set}/{scoring}/{scatteritem}.log",
    benchmark:
        "<benchmarks>/add_readouts/{variant_set}/{scoring}/{scatteritem}.tsv"
    wildcard_constraints:
        variant_set=jobs.made_by.add_readouts,
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
        "Adding read-outs: {wildcards.variant_set}, {wildcards.scoring}, {wildcards.scatteritem}"
    shell:
        "printf '%s' {params.config:q} | evo2-tasks score-readouts --config - --log {log:q}"
        " --scoring {wildcards.scoring:q} --threads {threads}"
        " --windows {input.windows:q} --segments {input.segments:q} --scores {input.scores:q}"
        " --readouts {output.readouts:q}"
