# Computes the digests of the files of a model, by which the store knows it. Only runs with a store need
# it.
rule identify:
    input:
        checkpoint=lookup("{model}", within=inputs.identified),
        fetched=collect(
            "<results>/{file}", file=lookup("{model}", within=inputs.identified_on_hub)
        ),
    output:
        identity="<results>/models/{model}.identity.json",
    log:
        "<logs>/identify/{model}.log",
    benchmark:
        "<benchmarks>/identify/{model}.tsv"
    wildcard_constraints:
        model=any_of(inputs.models),
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=jobs.mem_mb,
        runtime=jobs.runtime,
    params:
        config=jobs.config,
        settings=lookup("{model}", within=settings.identify),
    message:
        "Identifying the model {wildcards.model}"
    shell:
        "printf '%s' {params.config:q} | evo2-tasks identify --config - --log {log:q}"
        " --model {wildcards.model:q} --out {output.identity:q}"
