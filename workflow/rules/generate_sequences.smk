# Continues the prompts of a shard of a generation with the model.
rule generate_sequences:
    input:
        prompts="<results>/generations/{generation}/prompts.parquet",
        counts="<results>/generations/{generation}/prompts.json",
        checkpoint=lookup("{generation}", within=inputs.generations.checkpoint),
        functions=lookup("{generation}", within=inputs.generations.functions),
        fetched=collect(
            "<results>/{file}",
            file=lookup("{generation}", within=inputs.generations.hub_files),
        ),
    output:
        table="<results>/generations/{generation}/generated/{scatteritem}.parquet",
        steps="<results>/generations/{generation}/generated/{scatteritem}.steps.parquet",
        run="<results>/generations/{generation}/generated/{scatteritem}.json",
    log:
        "<logs>/generate_sequences/{generation}/{scatteritem}.log",
    benchmark:
        "<benchmarks>/generate_sequences/{generation}/{scatteritem}.tsv"
    conda:
        "../../envs/gpu.yaml"
    threads: 1
    resources:
        gpu=jobs.generation_gpu,
        mem_mb=jobs.generation_mem_mb,
        runtime=jobs.generation_runtime,
    params:
        config=jobs.config,
        settings=lookup("{generation}", within=settings.generations.generate_sequences),
    message:
        "Generating sequences: {wildcards.generation}, {wildcards.scatteritem}"
    shell:
        "printf '%s' {params.config:q} | evo2-tasks generate-sequences --config - --log {log:q}"
        " --generation {wildcards.generation:q} --threads {threads}"
        " --prompts {input.prompts:q} --out {output.table:q}"
