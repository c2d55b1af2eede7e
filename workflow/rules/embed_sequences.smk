# Averages the outputs of layers over the sequences of a shard. Only scorings with `embeddings` need it. Like
# score, it needs torch. It does not touch the log-likelihoods of score_sequence_set.
rule embed_sequences:
    input:
        shards="<results>/{sequence_set}/sequences",
        checkpoint=lookup("{scoring}", within=inputs.checkpoint),
        fetched=collect(
            "<results>/{file}", file=lookup("{scoring}", within=inputs.hub_files)
        ),
    output:
        embeddings="<results>/{sequence_set}/{scoring}/sequence_embeddings/{scatteritem}.parquet",
        run="<results>/{sequence_set}/{scoring}/sequence_embeddings/{scatteritem}.json",
    log:
        "<logs>/embed_sequences/{sequence_set}/{scoring}/{scatteritem}.log",
    benchmark:
        "<benchmarks>/embed_sequences/{sequence_set}/{scoring}/{scatteritem}.tsv"
    conda:
        "../../envs/gpu.yaml"
    threads: 1
    resources:
        gpu=jobs.gpu,
        mem_mb=jobs.sequences_mem_mb,
        runtime=jobs.sequences_runtime,
    params:
        config=jobs.config,
        settings=jobs.embed_settings,
    message:
        "Embedding sequences: {wildcards.sequence_set}, {wildcards.scoring}, {wildcards.scatteritem}"
    shell:
        "printf '%s' {params.config:q} | evo2-tasks embed-sequences --config - --log {log:q}"
        " --sequence-set {wildcards.sequence_set:q} --scoring {wildcards.scoring:q}"
        " --threads {threads} --shard {input.shards:q}/{wildcards.scatteritem:q}.parquet"
        " --out {output.embeddings:q}"
