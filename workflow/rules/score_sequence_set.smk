# Runs the model on the sequences of a shard. Like score, it needs torch.
rule score_sequence_set:
    input:
        shards="<results>/{sequence_set}/sequences",
        checkpoint=lookup("{scoring}", within=inputs.checkpoint),
        fetched=collect(
            "<results>/{file}", file=lookup("{scoring}", within=inputs.hub_files)
        ),
    output:
        scores="<results>/{sequence_set}/{scoring}/sequence_scores/{scatteritem}.parquet",
        run="<results>/{sequence_set}/{scoring}/sequence_scores/{scatteritem}.json",
    log:
        "<logs>/score_sequence_set/{sequence_set}/{scoring}/{scatteritem}.log",
    benchmark:
        "<benchmarks>/score_sequence_set/{sequence_set}/{scoring}/{scatteritem}.tsv"
    conda:
        "../../envs/gpu.yaml"
    threads: 1
    resources:
        gpu=jobs.gpu,
        mem_mb=jobs.sequences_mem_mb,
        runtime=jobs.sequences_runtime,
    params:
        config=jobs.config,
        settings=lookup(
            "{sequence_set}/{scoring}", within=settings.sequences.score_sequence_set
        ),
    message:
        "Scoring sequences: {wildcards.sequence_set}, {wildcards.scoring}, {wildcards.scatteritem}"
    shell:
        "printf '%s' {params.config:q} | evo2-tasks score-sequence-set --config - --log {log:q}"
        " --sequence-set {wildcards.sequence_set:q} --scoring {wildcards.scoring:q}"
        " --threads {threads} --shard {input.shards:q}/{wildcards.scatteritem:q}.parquet"
        " --out {output.scores:q}"
