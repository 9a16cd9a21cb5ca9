# DKD (Zhao et al.) on RoI class logits
logit_loss = dict(
    type='DKDLoss', alpha=1.0, beta=0.25, temperature=1.0, loss_weight=1.0
)
