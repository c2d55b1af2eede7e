# Downloads a model from a hub, once, on the machine where Snakemake runs. No other step needs a
# network.
rule fetch:
    output:
        stated="<results>/models/{model}.json",
    log:
        "<logs>/fetch/{model}.log",
    localrule: True
    conda:
        "../../envs/gpu.yaml"
    params:
        checkpoint=lookup("{model}", within=inputs.hub),
    message:
        "Fetching the model {wildcards.model}"
    shell:
        "evo2-tasks fetch --log {log:q} --out {output.stated:q} {params.checkpoint:q}"
