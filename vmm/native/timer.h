/* What ends KVM_RUN from outside: the slice timer of the running thread, and kicks from other
 * threads. */
#ifndef MAYFLY_TIMER_H
#define MAYFLY_TIMER_H

#include "kvm.h"

/* Brackets one KVM_RUN on the calling thread. run_end is also due when run_begin failed. */
outcome run_begin(struct vcpu *vcpu);
void run_end(struct vcpu *vcpu);

/* Gives the vCPU its kick_token, and takes it back. Nothing touches the vCPU through the token
 * afterwards. */
outcome kick_register(struct vcpu *vcpu);
void kick_unregister(struct vcpu *vcpu);

/* Ends the vCPU's current KVM_RUN, or else its next one. False: the token's vCPU is closed. Any
 * thread may call it. */
bool kick(uint64_t token);

/* The interruption that the kick asked for has been reported. */
void kick_consume(struct vcpu *vcpu);

#endif
